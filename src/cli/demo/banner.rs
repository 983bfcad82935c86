//! The moment it was all for: how the rollout ended, and what that cost whom.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::board::{Board, Ending};
use super::view::panel;
use crate::cli::words;

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let Some(ending) = &board.ending else { return };
    let (title, colour) = if ending.promoted {
        ("PROMOTED", Color::Green)
    } else {
        ("SWITCHED BACK", Color::Red)
    };
    let lines: Vec<Line<'_>> = sentences(board, ending)
        .into_iter()
        .map(Line::from)
        .collect();
    let block = panel(title).border_style(Style::new().fg(colour));
    let paragraph = Paragraph::new(lines).block(block.title_style(Style::new().fg(colour)));
    frame.render_widget(paragraph.bold(), area);
}

/// How it ended, in at most four sentences; the same for both ways of showing it.
pub(super) fn sentences(board: &Board, ending: &Ending) -> Vec<String> {
    if ending.promoted {
        return vec![
            " v2 was shown to be no worse than v1, stage by stage, and has all new sessions."
                .to_owned(),
            format!(" {}", sessions(board)),
        ];
    }
    let mut said = vec![format!(
        " v2 was switched off: {}.",
        ending.reason.replace('_', " ")
    )];
    if let Some(after) = ending.after_going_bad {
        let actuation = ending.actuation.map_or_else(String::new, |actuation| {
            format!(
                "; from the deciding evidence to the new split: {}",
                words::latency(actuation.as_secs_f64() * 1000.0)
            )
        });
        said.push(format!(
            " {:.1} s after it went bad{actuation}.",
            after.as_secs_f64()
        ));
        said.push(format!(
            " {} bad answers from v2 since then reached {} of the agents.",
            words::count(board.bad_answers),
            words::count(board.hurt.len() as u64)
        ));
    }
    said.push(format!(" {}", sessions(board)));
    said
}

fn sessions(board: &Board) -> String {
    let moved = match board.moved {
        0 => "none had to move".to_owned(),
        some => format!("{some} moved to v1 without their agents noticing"),
    };
    let unanswered = match board.failed {
        0 => String::new(),
        some => format!(" Calls without an answer: {some}."),
    };
    format!("Lost sessions: {}; {moved}.{unanswered}", board.lost)
}
