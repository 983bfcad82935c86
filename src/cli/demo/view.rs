//! The board, drawn: 80 by 24 and anything larger.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Cell, Paragraph, Row, Table};
use tokio::time::Instant;

use super::board::{Board, NEW, Now, Tone};
use crate::cli::words;

/// Colours by the place of a version.
const COLOURS: [Color; 2] = [Color::Cyan, Color::Yellow];
const QUIET: Color = Color::DarkGray;

/// What does not change while the demo runs.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// How many agents call.
    pub(super) agents: u16,
    /// Where the gateway takes traffic.
    pub(super) gateway: String,
    /// Where its admin API is.
    pub(super) admin: String,
}

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, scene: &Scene, now: Instant) {
    let [title, split, callers, judge, log, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(5),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_title(frame, title, board, scene, now);
    draw_split(frame, split, board, now);
    draw_callers(frame, callers, board, now);
    match &board.ending {
        Some(_) => super::banner::draw(frame, judge, board),
        None => super::evidence::draw(frame, judge, board),
    }
    draw_log(frame, log, board);
    draw_foot(frame, foot, board, scene);
}

/// A frame around a part of the picture.
pub(super) fn panel(title: &str) -> Block<'_> {
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(Style::new().fg(QUIET))
        .title(Span::from(format!(" {title} ")).bold())
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, board: &Board, scene: &Scene, now: Instant) {
    let elapsed = words::span((now - board.started).as_secs_f64());
    let line = Line::from(vec![
        Span::from(" switchback ").bold().reversed(),
        Span::from(format!(
            "  two versions of one MCP server, {} agents, one canary rollout",
            scene.agents
        )),
    ]);
    frame.render_widget(Paragraph::new(line), area);
    frame.render_widget(Line::from(format!("{elapsed} ")).right_aligned(), area);
}

fn draw_split(frame: &mut Frame<'_>, area: Rect, board: &Board, now: Instant) {
    let block = panel("who gets the traffic");
    let inner = block.inner(area);
    let width = usize::from(inner.width);
    let [stable, new] = board.now(now);
    let all = (stable.per_second + new.per_second).max(0.1);
    let share = (100.0 * new.per_second / all).round();
    let places = (share / 100.0 * width as f64).round() as usize;
    let bar = Line::from(vec![
        Span::from("█".repeat(width.saturating_sub(places))).fg(COLOURS[0]),
        Span::from("█".repeat(places)).fg(new_colour(board)),
    ]);
    let rates = Line::from(vec![
        Span::from(format!(" v1 {:>4} ", words::percent(100.0 - share)))
            .fg(COLOURS[0])
            .bold(),
        Span::from(format!("{:>4.0} calls/s   ", stable.per_second)),
        Span::from(format!("v2 {:>4} ", words::percent(share)))
            .fg(new_colour(board))
            .bold(),
        Span::from(format!("{:>4.0} calls/s", new.per_second)),
        Span::from(format!(
            "   new sessions to v2: {}",
            words::percent(board.split_percent())
        ))
        .fg(QUIET),
    ]);
    let label = " v2 by second ";
    let history = Line::from(vec![
        Span::from(label).fg(QUIET),
        Span::from(spark(board, width.saturating_sub(label.len() + 1))).fg(new_colour(board)),
    ]);
    frame.render_widget(Paragraph::new(vec![bar, rates, history]).block(block), area);
}

/// The new version's share of each of the last seconds, one place a second.
fn spark(board: &Board, width: usize) -> String {
    const STEPS: [char; 9] = ['·', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let whole = board.seconds.len().saturating_sub(1);
    board
        .seconds
        .iter()
        .take(whole)
        .skip(whole.saturating_sub(width))
        .map(|[stable, new]| {
            let share = *new as f64 / (stable + new).max(1) as f64;
            // Anything at all is more than nothing.
            let step = (share * 8.0).ceil() as usize;
            STEPS.get(step).copied().unwrap_or('█')
        })
        .collect()
}

fn new_colour(board: &Board) -> Color {
    let healed = board.ending.as_ref().is_some_and(|ending| ending.promoted);
    match board.gone_bad {
        _ if healed => Color::Green,
        Some(_) => Color::Red,
        None => COLOURS[NEW],
    }
}

fn draw_callers(frame: &mut Frame<'_>, area: Rect, board: &Board, now: Instant) {
    let head = [
        "", "calls", "errors", "now", "p50", "p95", "p99", "sessions",
    ];
    let right = |text: String| Cell::from(Line::from(text).right_aligned());
    let rows = board
        .arms
        .iter()
        .zip(board.now(now))
        .enumerate()
        .map(|(place, (arm, now))| {
            let (name, colour) = match place {
                NEW => ("v2 candidate", new_colour(board)),
                _ => ("v1 stable", COLOURS[0]),
            };
            let worst = if now.error_percent >= 5.0 {
                Color::Red
            } else {
                Color::Reset
            };
            let [p50, p95, p99] = latencies(&now);
            Row::new(vec![
                Cell::from(Span::from(name).fg(colour).bold()),
                right(words::count(arm.calls)),
                right(words::count(arm.errors)),
                right(words::percent(now.error_percent)).style(Style::new().fg(worst)),
                right(p50),
                right(p95),
                right(p99),
                right(arm.sessions.to_string()),
            ])
        });
    let widths = [13, 9, 8, 8, 8, 8, 8, 9].map(Constraint::Length);
    let table = Table::new(rows, widths)
        .header(Row::new(head.map(|word| right(word.to_owned()))).style(Style::new().fg(QUIET)))
        .block(panel("what callers get (latencies and \"now\": last 5 s)"));
    frame.render_widget(table, area);
}

/// p50, p95 and p99 in words.
pub(super) fn latencies(now: &Now) -> [String; 3] {
    now.latencies.map_or_else(
        || ["-"; 3].map(str::to_owned),
        |all| all.map(words::latency),
    )
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, board: &Board) {
    let block = panel("what happened");
    let inner = block.inner(area);
    let lines = board
        .log
        .iter()
        .rev()
        .take(usize::from(inner.height))
        .rev()
        .map(|entry| {
            let style = match entry.tone {
                Tone::Plain => Style::new(),
                Tone::Bad => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
                Tone::Good => Style::new().fg(Color::Green).add_modifier(Modifier::BOLD),
            };
            Line::from(vec![
                Span::from(format!(" {:>4.1}s  ", entry.at.as_secs_f64())).fg(QUIET),
                Span::styled(entry.words.as_str(), style),
            ])
        });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, board: &Board, scene: &Scene) {
    let lost = if board.lost == 0 {
        Color::Green
    } else {
        Color::Red
    };
    let line = Line::from(vec![
        Span::from(format!(" lost sessions: {} ", board.lost))
            .fg(lost)
            .bold(),
        Span::from(format!("  MCP {}  admin {}", scene.gateway, scene.admin)).fg(QUIET),
    ]);
    frame.render_widget(Paragraph::new(line), area);
    frame.render_widget(Line::from("q quits ").right_aligned(), area);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    use super::*;
    use crate::cli::demo::agent::Sight;

    fn route(state: &str) -> serde_json::Value {
        let calls = json!({ "total": 0, "outcomes": {}, "in_flight": 0, "open_streams": 0 });
        let check = |name: &str, pass: f64| json!({ "name": name, "evidence": 2.0, "pass_evidence": pass, "margin": 1.1, "message": "" });
        json!({
            "route": "search", "generation": 3, "matches": "any host /mcp", "protocol": "mcp",
            "arms": [
                { "backend": "search-v1", "weight": 75, "percent": 75.0, "standing": "open",
                  "calls": calls, "recent": calls },
                { "backend": "search-v2", "weight": 25, "percent": 25.0, "standing": "open",
                  "calls": calls, "recent": calls },
            ],
            "rollout": {
                "id": "r-1", "route": "search", "stable": "search-v1", "candidate": "search-v2",
                "plan": "quick", "state": state, "percent": 25.0, "stage": 2,
                "stages": [{ "percent": 10.0, "for_seconds": 8.0, "approve": false },
                           { "percent": 25.0, "for_seconds": 8.0, "approve": false }],
                "stage_elapsed_seconds": 3.5, "started_at": "2026-11-21T04:31:27Z", "who": "cli",
                "message": "",
                "verdict": {
                    "decision": "hold", "because": "gathering",
                    "summary": "no worse than agreed so far; gathering evidence",
                    "evidence": 8.0, "revert_at": 100.0, "pass_at": 20.0,
                    "checks": [check("errors", 6.0), check("latency", 3.0)],
                    "stable": { "calls": 900, "bad": 1, "bad_counted": 1 },
                    "candidate": { "calls": 300, "bad": 2, "bad_counted": 2 },
                    "stage_calls": 120, "min_calls": 50, "record": {}
                }
            }
        })
    }

    fn busy_board(start: Instant) -> Board {
        let mut board = Board::new(start);
        for second in 0..20 {
            let now = start + Duration::from_secs(second);
            for call in 0..40 {
                let version = if call < second { "v2" } else { "v1" }.to_owned();
                let (latency, is_error) = (Duration::from_millis(call + 5), call == 0);
                board.see(
                    Sight::Answered {
                        agent: call,
                        version,
                        latency,
                        is_error,
                    },
                    now,
                );
            }
        }
        for _ in 0..3 {
            board.see(
                Sight::Opened {
                    version: "v2".into(),
                },
                start,
            );
        }
        board
    }

    fn picture(board: &Board, now: Instant) -> String {
        let scene = Scene {
            agents: 60,
            gateway: "127.0.0.1:8080/mcp".into(),
            admin: "127.0.0.1:9900".into(),
        };
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal
            .draw(|frame| draw(frame, board, &scene, now))
            .unwrap();
        terminal.backend().to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rollout_under_way_in_eighty_by_twenty_four() {
        let start = Instant::now();
        let mut board = busy_board(start);
        let now = start + Duration::from_secs(20);
        board.learn(serde_json::from_value(route("running")).unwrap(), now);
        board.goes_bad(now);

        insta::assert_snapshot!(picture(&board, now));
    }

    #[tokio::test(start_paused = true)]
    async fn the_moment_of_the_revert_in_eighty_by_twenty_four() {
        let start = Instant::now();
        let mut board = busy_board(start);
        let now = start + Duration::from_secs(20);
        board.goes_bad(start + Duration::from_secs(18));
        board.bad_answers = 31;
        board.hurt.extend(0..12);
        board.moved = 9;
        let event = json!({
            "sequence": 9, "at": "2026-11-21T04:31:27Z", "kind": "rollout_reverted", "generation": 4,
            "who": "judge", "message": "r-1 reverted: error_rate_high",
            "details": { "why": "error_rate_high", "actuation_us": 640 },
        });
        board.hear(&serde_json::from_value(event).unwrap(), now);

        insta::assert_snapshot!(picture(&board, now));
    }
}
