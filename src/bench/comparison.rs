//! Comparison of the fastest device with the slowest, at the same batch size.

use super::Report;
use kiln_plots::format_number;

/// Two devices at one batch size, by their indices in the report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Number of images per batch.
    pub batch_size: usize,
    /// Index of the fastest device, and its images per second.
    pub fastest: (usize, f64),
    /// Index of the slowest device, and its images per second.
    pub slowest: (usize, f64),
}

impl Comparison {
    /// Compares the devices at the batch size that most devices have run, and of several at the one with the highest
    /// throughput. Returns `None` if no two devices share a batch size.
    pub fn of(report: &Report) -> Option<Self> {
        let sizes = report.devices.iter().flat_map(|device| &device.engine).map(|run| run.batch_size);
        let candidates = sizes.filter_map(|batch_size| {
            let speeds = speeds(report, batch_size);
            let fastest = speeds.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
            let slowest = speeds.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1))?;
            (fastest.0 != slowest.0).then_some((speeds.len(), Self { batch_size, fastest, slowest }))
        });
        let best = candidates.max_by(|(a, one), (b, other)| a.cmp(b).then(one.fastest.1.total_cmp(&other.fastest.1)));
        best.map(|(_, comparison)| comparison)
    }

    /// Returns the comparison as a sentence.
    pub fn sentence(&self, report: &Report) -> String {
        let labels = report.labels();
        let (fast, slow) = (&labels[self.fastest.0], &labels[self.slowest.0]);
        format!(
            "At batch size {}, {fast} runs {} images/s and {slow} {} images/s: {fast} is {} times as fast.",
            self.batch_size,
            format_number(self.fastest.1),
            format_number(self.slowest.1),
            format_number(self.fastest.1 / self.slowest.1),
        )
    }
}

/// Returns the index and the highest images per second of each device that ran `batch_size`.
fn speeds(report: &Report, batch_size: usize) -> Vec<(usize, f64)> {
    let speed = |runs: &[super::EngineRun]| {
        let same = runs.iter().filter(|run| run.batch_size == batch_size).map(|run| run.images_per_second);
        same.filter(|speed| speed.is_finite() && *speed > 0.0).max_by(f64::total_cmp)
    };
    let devices = report.devices.iter().enumerate();
    devices.filter_map(|(index, device)| Some((index, speed(&device.engine)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn devices_are_compared_at_the_batch_size_of_the_highest_throughput() {
        let report = sample::report();
        let comparison = Comparison::of(&report).unwrap();
        assert_eq!(comparison, Comparison { batch_size: 4, fastest: (0, 251.37), slowest: (1, 10.05) });
        let sentence = comparison.sentence(&report);
        assert!(
            sentence.ends_with("251.4 images/s and vulkan:0 10.1 images/s: cpu is 25.0 times as fast."),
            "{sentence}"
        );
    }

    #[test]
    fn no_comparison_without_two_devices_at_one_batch_size() {
        let mut report = sample::report();
        report.devices[1].engine.retain(|run| run.batch_size == 4);
        report.devices[0].engine.retain(|run| run.batch_size == 1);
        assert_eq!(Comparison::of(&report), None);
        assert_eq!(Comparison::of(&sample::empty()), None);
        report.devices.truncate(1);
        assert_eq!(Comparison::of(&report), None);
    }
}
