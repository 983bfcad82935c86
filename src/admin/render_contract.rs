//! Contracts, as wire types.

use crate::control::{Change, ContractReport, ContractResult, Severity};

use super::wire::{
    ContractBody, ContractChangeBody, ContractCountsBody, ContractResultBody, SeverityBody,
};

pub(super) fn contract(report: &ContractReport) -> ContractBody {
    let counts = report.comparison.counts;
    ContractBody {
        stable: report.stable.clone(),
        candidate: report.candidate.clone(),
        at: report.at.to_string(),
        result: match report.result {
            ContractResult::Compatible => ContractResultBody::Compatible,
            ContractResult::Risky => ContractResultBody::Risky,
            ContractResult::Breaking => ContractResultBody::Breaking,
            ContractResult::Unknown => ContractResultBody::Unknown,
        },
        summary: report.summary(),
        unknown: report.unknown.clone(),
        accepted: report.accepted,
        counts: ContractCountsBody {
            breaking: counts.breaking,
            risky: counts.risky,
            compatible: counts.compatible,
            info: counts.info,
        },
        changes: report.comparison.changes.iter().map(change).collect(),
    }
}

fn change(change: &Change) -> ContractChangeBody {
    ContractChangeBody {
        severity: match change.severity {
            Severity::Breaking => SeverityBody::Breaking,
            Severity::Risky => SeverityBody::Risky,
            Severity::Compatible => SeverityBody::Compatible,
            Severity::Info => SeverityBody::Info,
        },
        rule: change.rule.as_str().to_owned(),
        part: change.part.as_str().to_owned(),
        name: change.name.clone(),
        place: Some(change.place.clone()).filter(|place| !place.is_empty()),
        stable: change.stable.clone(),
        candidate: change.candidate.clone(),
        message: change.to_string(),
        reason: change.rule.reason().to_owned(),
    }
}
