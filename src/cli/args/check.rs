//! The words of `switchback rollout check`.

use clap::Args;

use super::RolloutName;

// An item of a rollout's checklist.
#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    /// The rollout's id, or the name of the route that it runs on.
    #[arg(value_name = "ID")]
    pub(in crate::cli) rollout: RolloutName,
    /// The item's name.
    #[arg(value_name = "ITEM")]
    pub(in crate::cli) item: String,
    /// What there is to note; a budget is let pass only with one.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) note: Option<String>,
}
