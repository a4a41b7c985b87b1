//! Where former candidates come from: revisions of real repositories, folders and files of real runs.

mod revisions;
mod runs;
