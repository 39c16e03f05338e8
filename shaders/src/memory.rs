//! The memory of weights while a model is loaded.

use std::sync::{Mutex, PoisonError};

/// While a value of this type exists, every large buffer goes back to the operating system as soon as it is freed.
///
/// By default glibc raises the size from which it does that whenever such a buffer is freed, up to 32 MiB. The weights of the next
/// layers then come from the heaps of the threads that read and pack them, and a heap keeps them after they are freed: a process
/// that loaded a model could stay at more than twice its size. Images, on the other hand, should reuse such memory, because fresh
/// pages take as long as a good part of their decoding. Afterwards the size is therefore 32 MiB for good, to which it would have
/// grown.
///
/// Other C libraries have no such rule, and there this does nothing. Source: `mallopt(3)`, `M_MMAP_THRESHOLD`.
#[derive(Debug)]
pub struct LoadingMemory(());

/// The number of values of [`LoadingMemory`].
static LOADS: Mutex<usize> = Mutex::new(0);

impl LoadingMemory {
    /// Begins a load. Several may be under way.
    #[expect(clippy::new_without_default, reason = "it changes the state of the process")]
    pub fn new() -> Self {
        let mut loads = LOADS.lock().unwrap_or_else(PoisonError::into_inner);
        *loads += 1;
        set_threshold(1 << 20);
        Self(())
    }
}

impl Drop for LoadingMemory {
    fn drop(&mut self) {
        let mut loads = LOADS.lock().unwrap_or_else(PoisonError::into_inner);
        *loads -= 1;
        if *loads == 0 {
            set_threshold(32 << 20);
        }
    }
}

/// Sets the size from which buffers are mapped by themselves. Twice as much free memory may remain at the end of a heap, as glibc
/// has it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set_threshold(bytes: i32) {
    // SAFETY: the function takes two numbers and may be called at any time. If it fails, the former setting stays.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, bytes);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * bytes);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn set_threshold(_bytes: i32) {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// The resident memory of this process in MiB.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    }

    #[test]
    fn buffers_that_a_load_frees_leave_the_process() {
        const MIB: usize = 1 << 20;
        let _loading = LoadingMemory::new();
        // Freeing this buffer would make the smaller ones below come from the heap of their thread.
        drop(std::hint::black_box(vec![1_u8; 24 * MIB]));
        let before = resident();
        let small = std::thread::spawn(|| {
            let pairs = (0..20).map(|_| (vec![1_u8; 8 * MIB], vec![1_u8; 1024]));
            let (large, small): (Vec<_>, Vec<_>) = pairs.unzip();
            drop(std::hint::black_box(large));
            small
        });
        // The small buffers lie behind the large ones, so that a heap could not shrink.
        let small = small.join().unwrap();
        let grown = resident().saturating_sub(before);
        assert!(grown < 80, "{grown} MiB of 160 stay after {} buffers were freed", small.len());
    }
}
