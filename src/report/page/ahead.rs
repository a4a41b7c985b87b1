//! Made on two threads, and taken in order.

use std::sync::mpsc::sync_channel;
use std::thread;

/// So many are made in one go.
const LOT: usize = 8;

/// Makes something of every item, and takes it in the order of the items. Every second lot is made on a thread of its
/// own meanwhile, of which no more than two lots wait. Ends with the first failure.
///
/// # Errors
/// What `take` said.
pub(super) fn in_order<T: Sync, M: Send, E>(
    items: &[T],
    make: impl Fn(&T) -> M + Sync,
    mut take: impl FnMut(&T, M) -> Result<(), E>,
) -> Result<(), E> {
    let lot = |items: &[T]| items.iter().map(&make).collect::<Vec<M>>();
    thread::scope(|scope| {
        let (send, others) = sync_channel(1);
        let every_second = move || {
            let lots = items.chunks(LOT).skip(1).step_by(2);
            // Whoever takes them may have failed.
            lots.map(lot).all(|made| send.send(made).is_ok());
        };
        // Where there may be no further thread, this one makes all.
        let other = thread::Builder::new().spawn_scoped(scope, every_second);
        drop(other);
        for (at, items) in items.chunks(LOT).enumerate() {
            let done = (at % 2 == 1).then(|| others.recv().ok()).flatten();
            let done = done.unwrap_or_else(|| lot(items));
            for (item, done) in items.iter().zip(done) {
                take(item, done)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn all_are_taken_in_order() {
        for many in [0, 1, LOT, LOT + 1, 10 * LOT + 3] {
            let items: Vec<usize> = (0..many).collect();
            let mut taken = Vec::new();
            let take = |item: &usize, made: usize| {
                taken.push((*item, made));
                Ok::<(), ()>(())
            };
            in_order(&items, |item| item * 2, take).unwrap();
            let expected: Vec<_> = items.iter().map(|it| (*it, it * 2)).collect();
            assert_eq!(taken, expected);
        }
    }

    #[test]
    fn nothing_more_is_made_after_a_failure_than_was_under_way() {
        let items = vec![(); 1000 * LOT];
        let count = AtomicUsize::new(0);
        let make = |(): &()| {
            count.fetch_add(1, SeqCst);
        };
        let failed = in_order(&items, make, |(), ()| Err("full"));
        assert_eq!(failed, Err("full"));
        assert!(count.into_inner() <= 4 * LOT);
    }
}
