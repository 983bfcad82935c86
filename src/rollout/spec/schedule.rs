//! When the stages of a plan may begin.

use serde::{Deserialize, Serialize};

use crate::model::{Problems, WindowName};

/// Most windows of each kind.
const MAX_WINDOWS: usize = 16;

/// When its rollouts may begin a stage, and be promoted. A way back waits for no window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSpec {
    /// Only within one of these windows, at most 16. Default: at any time.
    #[schemars(with = "Vec<String>")]
    pub start: Vec<WindowName>,
    /// Never within any of these windows, at most 16; they win over `start`. Default: none.
    #[schemars(with = "Vec<String>")]
    pub freeze: Vec<WindowName>,
}

impl ScheduleSpec {
    /// Whether it holds up nothing.
    pub fn is_empty(&self) -> bool {
        self.start.is_empty() && self.freeze.is_empty()
    }

    /// Every window that it names, with the path of its place.
    pub fn windows(&self) -> Vec<(String, &WindowName)> {
        let lists = [("start", &self.start), ("freeze", &self.freeze)];
        let each = lists.into_iter().flat_map(|(list, windows)| {
            let places = windows.iter().enumerate();
            places.map(move |(index, window)| (format!("{list}[{index}]"), window))
        });
        each.collect()
    }

    pub(super) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        problems.number("start", self.start.len(), 0..=MAX_WINDOWS);
        problems.number("freeze", self.freeze.len(), 0..=MAX_WINDOWS);
        problems.into_vec()
    }
}
