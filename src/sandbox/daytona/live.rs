//! Bringing the two output streams home, each byte once: while the command runs, and at its end.

use std::time::Duration;

use tokio::time::timeout;

use super::toolbox::Toolbox;
use crate::sandbox::remote::command::Place;
use crate::sandbox::remote::delivery::{Delivery, STREAMS};
use crate::sandbox::{SandboxError, Stream};

/// The most of a stream that one look takes.
const MAX_LOOK: u64 = 1 << 20;
/// A look that takes longer is given up: others wait for their turn.
const LOOK: Duration = Duration::from_secs(3);

impl Delivery<'_> {
    /// Fetches what is new of both streams. Whatever fails is left for the end.
    ///
    /// # Cancel safety
    /// Safe: what was delivered was counted in the same breath.
    pub(crate) async fn look(&mut self, toolbox: &Toolbox, place: &Place) {
        let _turn = toolbox.look().await;
        // In a place of its own, which is there only for as long as it takes.
        let all = Box::pin(async {
            for (stream, file) in STREAMS {
                if self
                    .fetch(toolbox, place, stream, file, MAX_LOOK)
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        let _in_time = timeout(LOOK, all).await;
    }

    /// Fetches at most so much of one stream's file.
    pub(crate) async fn fetch(
        &mut self,
        toolbox: &Toolbox,
        place: &Place,
        stream: Stream,
        file: &str,
        most: u64,
    ) -> Result<(), SandboxError> {
        let (from, most) = (self.delivered(stream), self.room(stream).min(most));
        let mut take = |bytes: &[u8]| {
            self.write(stream, bytes);
            Ok(())
        };
        toolbox
            .fetch(&place.file(file), from, most, &mut take)
            .await?;
        Ok(())
    }
}
