//! What a piece of work asks of memory: counted for each thread by itself, because tests run beside each other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allocations {
    /// How often.
    pub(crate) times: u64,
    /// How many bytes in all.
    pub(crate) bytes: u64,
    /// How many bytes at once, at the most.
    pub(crate) most: u64,
    held: u64,
}

thread_local! {
    static OF_THREAD: Cell<Allocations> = const {
        Cell::new(Allocations { times: 0, bytes: 0, most: 0, held: 0 })
    };
}

/// Does a piece of work on this thread, and counts what it asks for.
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> (T, Allocations) {
    let before = OF_THREAD.replace(Allocations::default());
    let done = work();
    (done, OF_THREAD.replace(before))
}

fn note(taken: usize, given: usize) {
    // A thread that ends has nobody left to count for it.
    let _: Result<(), _> = OF_THREAD.try_with(|it| {
        let mut sum = it.get();
        sum.times += u64::from(taken > 0);
        sum.bytes += taken as u64;
        sum.held = (sum.held + taken as u64).saturating_sub(given as u64);
        sum.most = sum.most.max(sum.held);
        it.set(sum);
    });
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator is; this one asks the system's")]
// SAFETY: all is the system's allocator; what is counted asks for no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}
