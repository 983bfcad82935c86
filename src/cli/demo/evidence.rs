//! The judge, drawn while a rollout runs: how far the stage is, and what speaks against the
//! new version and for it.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::board::Board;
use super::view::panel;
use crate::admin::wire::{RolloutBody, VerdictBody};
use crate::cli::words;

/// Places of a gauge.
const GAUGE: usize = 28;

/// Draws what there is to say before the end.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let lines = match board.rollout() {
        None => vec![
            Line::from(" no rollout yet: v1 gets everything, so that v2 can be compared with it")
                .fg(Color::DarkGray),
        ],
        Some(rollout) => {
            let mut lines = vec![stage(rollout)];
            if let Some(verdict) = &rollout.verdict {
                lines.extend([against(verdict), in_favour(verdict)]);
                lines.push(Line::from(format!(" {}", verdict.summary)));
            }
            lines
        }
    };
    frame.render_widget(Paragraph::new(lines).block(panel("the judge")), area);
}

fn stage(rollout: &RolloutBody) -> Line<'static> {
    let number = rollout.stage.unwrap_or(0);
    let spec = rollout.stages.get((number as usize).saturating_sub(1));
    let length = spec.map_or(0.0, |spec| spec.for_seconds);
    let done = 100.0 * rollout.stage_elapsed_seconds / length.max(0.1);
    let heading = format!(
        " stage {number} of {} at {}",
        rollout.stages.len(),
        words::percent(rollout.percent)
    );
    Line::from(vec![
        Span::from(format!("{heading:<22}")),
        Span::from(words::bar(done, GAUGE)).fg(Color::Blue),
        Span::from(format!(
            "  {} of {}, {}",
            words::span(rollout.stage_elapsed_seconds),
            words::span(length),
            rollout.state.as_str().replace('_', " "),
        )),
    ])
}

fn against(verdict: &VerdictBody) -> Line<'static> {
    let colour = if verdict.evidence >= verdict.revert_at.sqrt() {
        Color::Red
    } else {
        Color::Yellow
    };
    Line::from(vec![
        Span::from(format!("{:<22}", " against v2")),
        Span::from(words::bar(
            log_percent(verdict.evidence, verdict.revert_at),
            GAUGE,
        ))
        .fg(colour),
        Span::from(format!(
            "  {} (reverts at {})",
            words::evidence(verdict.evidence),
            words::evidence(verdict.revert_at)
        )),
    ])
}

/// The weakest of the checks decides, so that is the one that is drawn.
fn in_favour(verdict: &VerdictBody) -> Line<'static> {
    let least = verdict
        .checks
        .iter()
        .min_by(|one, other| one.pass_evidence.total_cmp(&other.pass_evidence));
    let Some(check) = least else {
        return Line::default();
    };
    Line::from(vec![
        Span::from(format!("{:<22}", " for v2")),
        Span::from(words::bar(
            log_percent(check.pass_evidence, verdict.pass_at),
            GAUGE,
        ))
        .fg(Color::Green),
        Span::from(format!(
            "  {} by {} (passes at {})",
            words::evidence(check.pass_evidence),
            check.name,
            words::evidence(verdict.pass_at)
        )),
    ])
}

/// Evidence multiplies, so its gauge is logarithmic: 1 is nothing, `full` is full.
fn log_percent(evidence: f64, full: f64) -> f64 {
    100.0 * evidence.max(1.0).ln() / full.max(2.0).ln()
}
