//! Panics end what they happened in, and nothing else.

use super::*;

#[test]
fn a_chore_that_panics_begins_anew() {
    let rounds = Rc::new(Cell::new(0));
    runtime().unwrap().block_on(async {
        let begun = Rc::clone(&rounds);
        let chore = supervised("test", move || {
            let begun = Rc::clone(&begun);
            async move {
                begun.set(begun.get() + 1);
                assert!(begun.get() > 2, "on purpose");
                std::future::pending::<()>().await;
            }
        });
        let chore = spawn_local(chore);
        while rounds.get() < 3 {
            tokio::task::yield_now().await;
        }
        chore.abort();
    });

    assert_eq!(rounds.get(), 3);
}

#[test]
fn a_connection_that_panics_ends_alone() {
    let (broken, other) = runtime().unwrap().block_on(async {
        let broken: JoinHandle<()> = spawn_local(async { panic!("on purpose") });
        let other = spawn_local(async { tokio::task::yield_now().await });
        (broken.await, other.await)
    });

    assert!(broken.unwrap_err().is_panic());
    assert!(other.is_ok());
}
