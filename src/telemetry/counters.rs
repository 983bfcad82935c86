//! Process-wide counters: the `metrics` facade, for what is counted anywhere in the code.
//!
//! Counts of calls do not come here: they are in `stats`, where the request path writes
//! without a lock.

use std::sync::OnceLock;

use metrics::{KeyName, Recorder, SharedString};

use crate::model::Limit;

use super::numbers::Numbers;
use super::page::Page;

/// The process's one recorder. The facade is global by design, so this is too.
static HANDLE: OnceLock<Counters> = OnceLock::new();

/// Counters that other rooms count without further ado, each with its help. They are on the page
/// from the start, as zeros.
const KNOWN: &[(&str, &str)] = &[
    (
        "switchback_sessions_branched_total",
        "MCP sessions that were opened a second time, where a rule leads some of their calls",
    ),
    (
        "switchback_branches_failed_total",
        "MCP sessions that could not be opened where a rule leads some of their calls",
    ),
    (
        "switchback_sessions_ended_total",
        "MCP sessions opened in the name of others that are gone, and ended at their servers",
    ),
    (
        "switchback_sessions_left_open_total",
        "The same that could not be ended, and are left to their servers' own time-outs",
    ),
    (
        "switchback_pushed_values_total",
        "Values of metrics that applications pushed, by route, metric and whether a judge waits for them: counted, unjudged",
    ),
    (
        "switchback_pushed_values_refused_total",
        "Values for which a push was refused, by route and by what is wrong: metric, backend, request, value",
    ),
    (
        "switchback_hooks_total",
        "What hooks were asked, run and told, by hook and by how it ended: ok, refused, failed, unwanted",
    ),
    (
        "switchback_notices_total",
        "Notices by notifier and by what became of them: sent, failed, dropped",
    ),
    (
        "switchback_notice_attempts_failed_total",
        "Posts of notices that got nowhere, by notifier",
    ),
    (
        "switchback_accept_errors_total",
        "Connections from downstream that the system did not hand over",
    ),
    (
        "switchback_workers_replaced_total",
        "Worker threads that ended by themselves and were replaced",
    ),
    (
        "switchback_chores_restarted_total",
        "Chores of workers that panicked and began anew",
    ),
    (
        "switchback_handovers_failed_total",
        "Attempts of other processes to take over that failed",
    ),
    (
        "switchback_descriptors_short_total",
        "Times that traffic had no descriptor left of those that it may use",
    ),
    (
        "switchback_upstream_floods_total",
        "HTTP/2 connections to backends given up because of frames that bring no answer forward",
    ),
    (
        "switchback_idle_connections_distrusted_total",
        "Requests that must not be sent twice and found only connections idle for too long",
    ),
    (
        "switchback_connections_readied_total",
        "Connections to endpoints that were made before a call needed them",
    ),
    (
        "switchback_connections_not_readied_total",
        "Connections to endpoints that could not be made before a call needed them",
    ),
    (
        "switchback_stale_connections_total",
        "Pooled connections that were dead under a request that was then repeated",
    ),
    (
        "switchback_interim_floods_total",
        "Connections to backends given up because of what came before the head of an answer",
    ),
    (
        "switchback_large_reads_refused_total",
        "Reads of long answers that were short since clients held too much of others",
    ),
    (
        "switchback_malformed_answers_total",
        "Answers that could be read in more than one way",
    ),
    (
        "switchback_upstream_streams_waited_total",
        "Requests that found no room on an HTTP/2 connection to their endpoint, and waited",
    ),
    (
        "switchback_upstream_further_connections_failed_total",
        "HTTP/2 connections beside others to their endpoint that could not be made",
    ),
    (
        "switchback_tls_handshakes_total",
        "TLS handshakes with clients that succeeded, in full or by resuming a session",
    ),
    (
        "switchback_tls_handshake_failures_total",
        "TLS handshakes with clients that failed, by reason",
    ),
    (
        "switchback_tls_reloads_total",
        "New certificates that were put in force, by section of the file",
    ),
    (
        "switchback_tls_reload_errors_total",
        "New certificates that were broken, so that the old ones stayed, by section of the file",
    ),
    (
        "switchback_drain_streams_ended_total",
        "Event streams ended at the end of a drain, as they should end",
    ),
    (
        "switchback_drain_answers_cut_total",
        "Answers cut at the end of a drain",
    ),
    (
        "switchback_contract_checks_total",
        "Comparisons of what two versions promise, by route and result",
    ),
    (
        "switchback_rollout_starts_refused_total",
        "Starts of rollouts that were refused because of earlier reverts, by route and reason",
    ),
    (
        "switchback_rollout_starts_put_off_total",
        "Attempts to start a rollout that a file asks for which failed, by route",
    ),
    (
        "switchback_arms_passed_over_total",
        "Requests that went to another backend of their route because theirs had no fit endpoint",
    ),
    (
        "switchback_state_rows_unsound_total",
        "Rows of the history left out of an answer because they are damaged",
    ),
    (
        "switchback_auth_tokens_forgotten_total",
        "Checked tokens that a worker forgot to make room for others",
    ),
    (
        "switchback_session_ids_forgotten_total",
        "Opened session ids that a worker forgot to make room for others",
    ),
    (
        "switchback_page_refusals_total",
        "Requests refused because of the web page they came from, or of a host that loopback does not go by",
    ),
    (
        "switchback_sessions_reopened_total",
        "MCP sessions that their own server did not know any more and that were opened again there",
    ),
    (
        "switchback_session_wishes_unkept_total",
        "Subscriptions and log levels of MCP sessions that were too long, or one too many, to be kept",
    ),
    (
        "switchback_bond_records_written_total",
        "Held callers and remembered values that were written to the state folder",
    ),
    (
        "switchback_bond_records_failed_total",
        "Held callers and remembered values that could not be written; they are tried again",
    ),
    (
        "switchback_bond_records_unnoted_total",
        "Changes of them that were not noted because nothing was written for long",
    ),
    (
        "switchback_session_records_written_total",
        "Records of MCP sessions that were written to the state folder",
    ),
    (
        "switchback_session_records_failed_total",
        "Records of MCP sessions that could not be written; they are tried again",
    ),
    (
        "switchback_session_records_evicted_total",
        "Records of MCP sessions that made room for others",
    ),
    (
        "switchback_session_records_unnoted_total",
        "Changes of MCP sessions that were not noted because nobody wrote them down",
    ),
    (
        "switchback_bond_records_written_total",
        "Held callers and remembered values that were written to the state folder",
    ),
    (
        "switchback_bond_records_failed_total",
        "Held callers and remembered values that could not be written; they are tried again",
    ),
    (
        "switchback_bond_records_unnoted_total",
        "Changes of held callers and remembered values that were not noted because nobody wrote \
         them down",
    ),
    (
        "switchback_sessions_reopened_total",
        "MCP sessions that were opened again where they live, since the server no longer knew them",
    ),
    (
        "switchback_stream_calls_unfollowed_total",
        "Calls of MCP sessions over HTTP+SSE whose outcome was not followed, being too many",
    ),
    (
        "switchback_stream_endpoints_refused_total",
        "Streams of MCP sessions over HTTP+SSE that were ended at their beginning",
    ),
    (
        "switchback_rules_unfollowed_total",
        "MCP messages over HTTP+SSE that a rule would have led elsewhere, which cannot be",
    ),
    (
        "switchback_packed_requests_total",
        "MCP requests whose body was compressed, so that it was not known what they are about",
    ),
    (
        "switchback_packed_answers_total",
        "MCP answers that were compressed, so that their outcome was told by their status alone",
    ),
    (
        "switchback_stream_moves_waited_total",
        "Moves of MCP sessions over HTTP+SSE that waited for their turn, many being moved at once",
    ),
    (
        "switchback_messages_left_behind_total",
        "MCP messages that were sent elsewhere than to where their session lives, or there too",
    ),
    (
        "switchback_rehomings_held_off_total",
        "Calls that were answered 404 at once, since their session had been re-homed in vain before",
    ),
    (
        "switchback_session_ids_refused_total",
        "Session ids of MCP servers that cannot be passed on, being too long or not visible ASCII",
    ),
    (
        "switchback_session_records_crowded_out_total",
        "Records of MCP sessions that made room because their owner held too many",
    ),
    (
        "switchback_session_homes_evicted_total",
        "Records of re-homed MCP sessions that made room for others: those sessions are lost",
    ),
    (
        "switchback_answers_dropped_total",
        "Answers of MCP clients to servers that their routes do not have any more",
    ),
    (
        "switchback_header_mismatches_total",
        "MCP requests whose headers contradicted their body, answered -32020",
    ),
    (
        "switchback_fallbacks_total",
        "MCP requests without session to a backend that does not speak of them, answered -32022",
    ),
    (
        "switchback_callers_redrawn_total",
        "Held callers whose backend was reverted, drained, dead or gone, so that they were drawn anew",
    ),
    (
        "switchback_callers_dropped_total",
        "Callers who were not held because there were too many",
    ),
    (
        "switchback_ties_followed_total",
        "MCP requests that were led back to the server that made a value of theirs",
    ),
    (
        "switchback_ties_lost_total",
        "MCP requests with a value whose server is dead or gone, or not known for sure",
    ),
    (
        "switchback_ties_dropped_total",
        "Values of MCP servers that were not remembered because there were too many",
    ),
];

/// Gauges that other rooms set, each with its help.
const KNOWN_GAUGES: &[(&str, &str)] = &[
    (
        "switchback_connections_max",
        "Most connections from downstream at once",
    ),
    ("switchback_requests_max", "Most requests at once"),
    (
        "switchback_callers_held",
        "Callers of MCP without sessions who are held on a backend",
    ),
    (
        "switchback_ties_held",
        "Values of MCP servers that lead later calls back to them",
    ),
];

/// Reads the process-wide counters.
#[derive(Clone, Debug)]
pub struct Counters {
    numbers: Numbers,
}

impl Counters {
    /// The counters of this process; the first call begins the counting.
    pub fn install() -> Self {
        HANDLE.get_or_init(Self::begin).clone()
    }

    fn begin() -> Self {
        let numbers = Numbers::default();
        let limits = (Limit::METRIC, "Times that clients ran into a bound");
        for (name, help) in KNOWN.iter().chain([&limits]) {
            numbers.describe_counter(KeyName::from(*name), None, SharedString::from(*help));
        }
        if metrics::set_global_recorder(numbers.clone()).is_err() {
            tracing::warn!("another recorder of metrics was there first");
        }
        for (name, _) in KNOWN {
            metrics::counter!(*name).increment(0);
        }
        for limit in Limit::ALL {
            metrics::counter!(Limit::METRIC, "limit" => limit.as_str()).increment(0);
        }
        for (name, help) in KNOWN_GAUGES {
            metrics::with_recorder(|recorder: &dyn Recorder| {
                recorder.describe_gauge(KeyName::from(*name), None, SharedString::from(*help));
            });
        }
        Self { numbers }
    }

    /// Puts all of them on a page.
    pub(super) fn render(&self, page: &mut Page) {
        self.numbers.render(page);
    }
}

/// Names a counter before its first count, so that it is on the page as zero with its help.
pub fn describe_counter(name: &'static str, help: &'static str) {
    Counters::install();
    metrics::with_recorder(|recorder: &dyn Recorder| {
        recorder.describe_counter(KeyName::from(name), None, SharedString::from(help));
    });
    metrics::counter!(name).increment(0);
}

/// Names a gauge and sets it to zero.
pub fn describe_gauge(name: &'static str, help: &'static str) {
    Counters::install();
    metrics::with_recorder(|recorder: &dyn Recorder| {
        recorder.describe_gauge(KeyName::from(name), None, SharedString::from(help));
    });
    metrics::gauge!(name).increment(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_described_counter_is_on_the_page_before_it_counts() {
        describe_counter("switchback_test_things_total", "Things in a test");

        let mut page = Page::default();
        Counters::install().render(&mut page);
        let page = page.finish();

        assert!(page.contains("# HELP switchback_test_things_total Things in a test\n"));
        assert!(
            page.contains("\nswitchback_test_things_total 0\n"),
            "{page}"
        );
    }
}
