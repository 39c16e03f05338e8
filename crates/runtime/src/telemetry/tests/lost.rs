//! Lines that are lost, for want of room and on a full disk: they are counted and told.

use std::time::{Duration, Instant};

use super::super::lost::{Output, Teller};
use super::*;

#[test]
fn lines_that_find_no_room_or_cannot_be_written_are_told_once_there_is_room() {
    let buffer = Buffer::default();
    let full = Full { left: 1_000_000, buffer: buffer.clone() };
    let disk = Arc::new(Mutex::new(full));
    let (output, lines, guard) = Output::begin("file", Disk(Arc::clone(&disk)), 4);
    let layers = vec![layer(LogFormat::Json, OneLine(lines))];
    let filter = "info".parse::<LogLevel>().unwrap().filter();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(layers.with_filter(filter)));
    let mut teller = Teller::of(vec![output.clone()]);
    let start = Instant::now();
    tracing::dispatcher::with_default(&dispatch, || {
        let stuck = buffer.0.lock().unwrap();
        (0..20).for_each(|_| tracing::info!("a line"));
        // One may be in the writer's hands, and four wait.
        let lost = output.lost();
        assert!((15..=16).contains(&lost), "{lost}");
        teller.tell(start, false);
        assert_eq!(output.lost(), lost + 1, "the line that tells of it found no room either");
        drop(stuck);
        until(|| buffer.count("a line") as u64 == 20 - lost);
        teller.tell(start + Duration::from_secs(9), false);
        teller.tell(start + Duration::from_secs(10), false);
        until(|| buffer.count("lines of the log were lost") == 1);
        teller.tell(start + Duration::from_secs(99), false);
        let told = buffer.lines().pop().unwrap().2;
        assert_eq!((&told["output"], &told["lines"]), (&"file".into(), &(lost + 1).into()), "{told}");
        disk.lock().unwrap().left = 0;
        tracing::info!("on a full disk");
        until(|| output.lost() == lost + 2);
        disk.lock().unwrap().left = 1_000_000;
        teller.tell(start + Duration::from_secs(99), true);
    });
    drop(guard);
    let told = buffer.lines().pop().unwrap().2;
    assert_eq!((buffer.count("on a full disk"), &told["lines"]), (0, &1.into()), "{told}");
}

/// A disk with so many bytes left.
struct Full {
    left: usize,
    buffer: Buffer,
}

struct Disk(Arc<Mutex<Full>>);

impl Write for Disk {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut disk = self.0.lock().unwrap();
        disk.left = disk.left.checked_sub(line.len()).ok_or(io::ErrorKind::StorageFull)?;
        disk.buffer.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[track_caller]
fn until(happened: impl Fn() -> bool) {
    let started = Instant::now();
    while !happened() {
        assert!(started.elapsed() < Duration::from_secs(30), "it did not happen");
        std::thread::yield_now();
    }
}
