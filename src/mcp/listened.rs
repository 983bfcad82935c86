//! The tasks whose news a `subscriptions/listen` asks for: each is of the server that made it.

use serde::Deserialize;

use super::tie::{Tie, TieKind};

/// Most tasks of a request that are looked at.
const MOST: usize = 64;

#[derive(Deserialize)]
struct Listen {
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    notifications: Filter,
}

/// What is listened to; drafts of the extension had another name for it.
#[derive(Deserialize)]
struct Filter {
    #[serde(rename = "taskIds", alias = "tasksStatus", default)]
    tasks: Vec<String>,
}

/// The ties of the tasks that are listened to by a request with this body.
pub fn ties_of_listening(body: &[u8]) -> Vec<Tie> {
    let Ok(listen) = serde_json::from_slice::<Listen>(body) else {
        return Vec::new();
    };
    let tasks = listen.params.notifications.tasks.into_iter().take(MOST);
    tasks
        .map(|task| Tie::new(TieKind::Task, task.as_bytes()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(notifications: &str) -> Vec<u8> {
        let listen =
            r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":"#;
        [listen, notifications, "}}"].concat().into_bytes()
    }

    #[test]
    fn tasks_are_found_under_either_name_and_up_to_a_bound() {
        let tie = |task: &str| Tie::new(TieKind::Task, task.as_bytes());
        for name in ["taskIds", "tasksStatus"] {
            let body = body(&format!(
                r#"{{"toolsListChanged":true,"{name}":["a","b"]}}"#
            ));

            assert_eq!(ties_of_listening(&body), [tie("a"), tie("b")]);
        }
        let many = format!("[{}]", vec!["\"a\""; 1000].join(","));
        assert_eq!(
            ties_of_listening(&body(&format!(r#"{{"taskIds":{many}}}"#))).len(),
            MOST
        );
    }

    #[test]
    fn what_names_no_task_ties_to_nothing() {
        for body in [
            body("{}"),
            body("null"),
            body(r#"{"taskIds":7}"#),
            body(r#"{"taskIds":["a",7]}"#),
            b"{}".to_vec(),
            b"".to_vec(),
        ] {
            assert_eq!(ties_of_listening(&body), []);
        }
    }
}
