//! Checklists of rollouts, as wire types and as sentences.

use crate::control::{GateStatus, ItemRecord, ItemState, RolloutStatus, What};

use super::wire::ItemBody;

pub(super) fn item(entry: &ItemRecord, rollout: &RolloutStatus) -> ItemBody {
    let plan = rollout.plan.as_deref();
    let mut items = plan.into_iter().flat_map(|plan| plan.checklist.items());
    let spec = items.find(|(_, item)| item.name == entry.item);
    let spec = spec.map(|(_, item)| item);
    ItemBody {
        part: entry.part.as_str().to_owned(),
        item: entry.item.to_string(),
        ask: spec.and_then(|it| it.ask.clone()),
        budget: spec
            .and_then(|it| it.budget.as_ref())
            .map(ToString::to_string),
        state: entry.state.as_str().to_owned(),
        stage: entry.stage,
        candidate: entry.candidate,
        stable: entry.stable,
        who: entry.who.clone(),
        note: entry.note.clone(),
        at: entry.at.map(|at| at.to_string()),
    }
}

/// The items that keep a gate closed.
pub(super) fn open(rollout: &RolloutStatus, gate: &GateStatus) -> Vec<String> {
    let index = usize::try_from(gate.stage)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let plan = rollout.plan.as_ref();
    let part = match gate.gate {
        "confirm_start" => "pre",
        "confirm_advance" if plan.is_some_and(|plan| plan.is_judged(index)) => "during",
        "pre_promote" => "post",
        _ => return Vec::new(),
    };
    let entries = rollout.checklist.iter();
    let open = entries.filter(|it| it.part.as_str() == part && keeps(it));
    open.map(in_words).collect()
}

fn keeps(entry: &ItemRecord) -> bool {
    match entry.state {
        ItemState::Open | ItemState::Broken | ItemState::Unmeasured => true,
        ItemState::Done | ItemState::Met => false,
    }
}

/// `backup is open`, `errors is broken (0.02 to stable's 0.001)`.
fn in_words(entry: &ItemRecord) -> String {
    let measured = match (entry.candidate, entry.stable) {
        (Some(candidate), Some(stable)) => format!(" ({candidate:.4} to stable's {stable:.4})"),
        (Some(candidate), None) => format!(" ({candidate:.4})"),
        (None, _) => String::new(),
    };
    let by = entry.who.as_ref().map(|who| format!(" by {who}"));
    let note = entry.note.as_ref().map(|note| format!(": {note}"));
    format!(
        "{} is {}{measured}{}{}",
        entry.item,
        entry.state.as_str(),
        by.unwrap_or_default(),
        note.unwrap_or_default()
    )
}

/// One line an item of the checklist, for the whole story.
pub(super) fn lines(rollout: &RolloutStatus) -> Vec<String> {
    let entries = rollout.checklist.iter();
    let lines = entries.map(|it| format!("checklist, {}: {}", it.part.as_str(), in_words(it)));
    lines.collect()
}

/// One sentence on a checklist.
pub(super) fn sentence(what: &What) -> Option<String> {
    let all = |items: &[ItemRecord]| items.iter().map(in_words).collect::<Vec<_>>().join(", ");
    if let What::ChecklistOpen { stage, items, .. } = what {
        let open: Vec<_> = items.iter().filter(|it| keeps(it)).map(in_words).collect();
        let open = open.join(", ");
        Some(format!(
            "rollout waits for its checklist at stage {stage}: {open}"
        ))
    } else if let What::ChecklistTicked { item: entry } = what {
        Some(in_words(entry))
    } else if let What::ChecklistPassed { part, stage, items } = what {
        let part = part.as_str();
        Some(format!(
            "checklist ({part}) of stage {stage} passed: {}",
            all(items)
        ))
    } else {
        None
    }
}
