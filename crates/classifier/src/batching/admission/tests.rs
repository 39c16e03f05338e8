//! Who is let in, and what the others are told.

use super::*;
use kiln_runtime::telemetry::metrics::ModelMetrics;

impl Admission {
    fn admit_by(&self, deadline: Option<Instant>) -> Result<Permit, AdmitError> {
        self.admit(&Ask { deadline, ..Ask::default() })
    }
}

/// Engines that take 100 ms for a picture.
fn measured(queue_capacity: usize, engines: usize) -> Admission {
    let admission =
        Admission::new(&Config { queue_capacity, ..Config::default() }, engines, ModelMetrics::new("model", "1"));
    (0..20).for_each(|_| admission.record(8, Duration::from_millis(800)));
    admission
}

#[test]
fn the_bound_holds_and_a_dropped_permit_makes_room() {
    let admission =
        Admission::new(&Config { queue_capacity: 2, ..Config::default() }, 1, ModelMetrics::new("model", "1"));
    let first = admission.admit_by(None).unwrap();
    let _second = admission.admit_by(None).unwrap();
    assert_eq!(admission.depth(), 2);
    assert!(matches!(admission.admit_by(None), Err(AdmitError::Overloaded { .. })));
    drop(first);
    assert_eq!(admission.depth(), 1);
    let _third = admission.admit_by(None).unwrap();
}

#[test]
fn the_advice_is_the_measured_time_for_all_that_is_inside() {
    for (engines, seconds) in [(1, 4), (2, 2)] {
        let admission = measured(40, engines);
        let _permits: Vec<_> = (0..40).map(|_| admission.admit_by(None).unwrap()).collect();
        assert_eq!(admission.retry_after(), Duration::from_secs(seconds));
    }
}

#[test]
fn who_cannot_be_served_in_time_is_turned_away_on_arrival() {
    let admission = measured(40, 1);
    let now = Instant::now();
    let _permits: Vec<_> = (0..15).map(|_| admission.admit_by(None).unwrap()).collect();
    // The sixteenth would be done after 1.6 s.
    let late = admission.admit_by(Some(now + Duration::from_millis(1500)));
    let Err(AdmitError::TooLate { expected, retry_after }) = late else { panic!("{late:?}") };
    assert_eq!((expected.as_millis(), retry_after), (1600, LEAST_RETRY_AFTER));
    let later = admission.admit_by(Some(now + Duration::from_millis(10)));
    assert!(matches!(later, Err(AdmitError::TooLate { retry_after, .. }) if retry_after > LEAST_RETRY_AFTER));
    let _in_time = admission.admit_by(Some(now + Duration::from_secs(3))).unwrap();
    assert_eq!(admission.depth(), 16, "who was turned away holds no place");
}

#[test]
fn a_lone_picture_is_tried_however_slow_the_engine_once_was() {
    let admission = measured(40, 1);
    let permit = admission.admit_by(Some(Instant::now() + Duration::from_millis(1))).unwrap();
    assert!(admission.admit_by(Some(Instant::now() + Duration::from_millis(1))).is_err());
    drop(permit);
    (0..200).for_each(|_| admission.record(1, Duration::from_micros(10)));
    let _two = [(); 2].map(|()| admission.admit_by(Some(Instant::now() + Duration::from_millis(100))).unwrap());
}

#[test]
fn before_anything_was_measured_everybody_is_let_in() {
    let admission = Admission::new(&Config::default(), 1, ModelMetrics::new("model", "1"));
    let _permit = admission.admit_by(Some(Instant::now() + Duration::from_millis(1))).unwrap();
}

#[test]
fn the_advice_is_a_second_at_least() {
    let admission = Admission::new(&Config::default(), 1, ModelMetrics::new("model", "1"));
    let _permit = admission.admit_by(None).unwrap();
    assert_eq!(admission.retry_after(), LEAST_RETRY_AFTER);
    (0..20).for_each(|_| admission.record(1, Duration::from_micros(10)));
    assert_eq!(admission.retry_after(), LEAST_RETRY_AFTER);
}

#[test]
fn who_goes_before_others_does_not_wait_for_them() {
    let admission = measured(40, 1);
    let deadline = Some(Instant::now() + Duration::from_millis(1500));
    let low = Ask { priority: Priority::Low, ..Ask::default() };
    let _permits: Vec<_> = (0..30).map(|_| admission.admit(&low).unwrap()).collect();
    assert!(matches!(admission.admit(&Ask { deadline, ..low }), Err(AdmitError::TooLate { .. })));
    // The batch that may run now, and himself.
    let _high = admission.admit(&Ask { deadline, priority: Priority::High, share: None }).unwrap();
}

#[test]
fn a_caller_fills_no_more_than_his_share() {
    let admission =
        Admission::new(&Config { queue_capacity: 8, ..Config::default() }, 1, ModelMetrics::new("model", "1"));
    let share = QueueShare { fraction: 0.25, in_flight: Arc::default() };
    let ask = Ask { share: Some(share), ..Ask::default() };
    let first = admission.admit(&ask).unwrap();
    let _second = admission.admit(&ask).unwrap();
    assert!(matches!(admission.admit(&ask), Err(AdmitError::ShareFull { most: 2, .. })));
    assert_eq!(admission.depth(), 2, "who was turned away holds no place");
    let _other = admission.admit(&Ask::default()).unwrap();
    drop(first);
    let _third = admission.admit(&ask).unwrap();
}
