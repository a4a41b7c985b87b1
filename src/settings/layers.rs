//! The layers: flag and environment above `forge.yaml`.

use std::collections::BTreeMap;

use super::{Flags, Origin};
use crate::event::Setting;
use crate::project::LocalDefaults;
use crate::quantity::ByteCount;
use crate::run::state::Budget;
use crate::trial::Keep;

/// Picks the uppermost layer that says something, and records which.
pub(super) struct Layers<'a> {
    pub(super) flags: &'a Flags,
    pub(super) shown: BTreeMap<String, Setting>,
}

impl Layers<'_> {
    /// What is only recorded here, and used elsewhere.
    pub(super) fn pick_recorded(&mut self, local: &LocalDefaults) {
        let flags = self.flags;
        let keep = |keep: &Keep| keep.as_str().to_owned();
        self.pick("keep", flags.keep.as_ref(), None, keep);
        let Budget { sandboxes, cost } = &flags.budget;
        self.pick("max-sandboxes", sandboxes.as_ref(), None, u64::to_string);
        self.pick("max-cost", cost.as_ref(), None, |it| format!("{it} USD"));
        let (typed, written) = (flags.isolation.as_ref(), local.isolation.as_ref());
        self.pick("isolation", typed, written, |it| it.as_str().to_owned());
        self.pick("memory", None, local.memory.as_ref(), ByteCount::to_string);
        self.pick("disk", None, local.disk.as_ref(), ByteCount::to_string);
        let written = local.processes.as_ref();
        self.pick("processes", None, written, u32::to_string);
    }

    pub(super) fn pick<T: Clone>(
        &mut self,
        name: &str,
        flag: Option<&T>,
        written: Option<&T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let (value, origin) = match (flag, written) {
            (Some(value), _) => (Some(value), self.flags.origin(name)),
            (None, Some(value)) => (Some(value), Origin::Project),
            (None, None) => (None, Origin::Default),
        };
        let text = value.map_or_else(|| "-".to_owned(), show);
        let setting = Setting {
            value: text,
            origin: origin.as_str().to_owned(),
        };
        self.shown.insert(name.to_owned(), setting);
        value.cloned()
    }
}
