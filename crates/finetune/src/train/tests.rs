use burn::tensor::{Device, TensorData};

use super::*;
use crate::Features;
use crate::set::values;

fn zeros(classes: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(vec![0.0_f32; 3 * classes], [3, classes]), &Device::flex())
}

/// Three clouds around corners of a triangle. Points are spread by a generator that is the same everywhere.
fn clouds(count: usize) -> (Features, Vec<usize>) {
    let mut state = 9_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
    };
    let corners = [[0.0, 0.0], [3.0, 0.0], [0.0, 3.0]];
    let classes: Vec<usize> = (0..count).map(|index| index % 3).collect();
    let mut values = Vec::new();
    for class in &classes {
        values.extend(corners[*class].map(|side| side + noise()));
    }
    (Features { width: 2, values }, classes)
}

fn set(features: &Features, classes: &[usize], which: std::ops::Range<usize>, class_count: usize) -> Set {
    Set::new(features, classes, &which.collect::<Vec<_>>(), class_count, &Device::flex()).unwrap()
}

fn plan() -> Plan {
    Plan::new("unused".into())
}

#[test]
fn training_separates_what_can_be_separated() {
    let (features, classes) = clouds(60);
    let set = set(&features, &classes, 0..60, 3);
    let mut losses = Vec::new();
    let trained = train(&zeros(3), &set, None, &plan(), |epoch| losses.push(epoch.loss)).unwrap();
    assert!(right_part(&set, &zeros(3)).unwrap() < 0.4);
    assert_eq!(right_part(&set, &trained.weight).unwrap(), 1.0);
    assert!(losses.last().unwrap() * 2.0 < losses[0], "{losses:?}");
    assert!(losses.windows(2).all(|pair| pair[1] < pair[0] + 1e-3), "{losses:?}");
}

#[test]
fn the_pull_keeps_weights_where_they_were() {
    let (features, classes) = clouds(60);
    let set = set(&features, &classes, 0..60, 4);
    // The fourth class is nobody's.
    let moved = |pull: f32| {
        let trained = train(&zeros(4), &set, None, &Plan { pull, ..plan() }, |_| ()).unwrap();
        values(trained.weight).unwrap().iter().skip(3).step_by(4).map(|value| value.abs()).sum::<f32>()
    };
    let (loose, tight) = (moved(0.0), moved(1.0));
    assert!(tight < loose / 4.0, "{tight} and {loose}");
}

#[test]
fn training_ends_when_the_pictures_kept_for_it_get_no_better() {
    let (features, mut classes) = clouds(60);
    // What is learnt from the first half is wrong for the other, so that no step at all is the best.
    (30..60).for_each(|index| classes[index] = (classes[index] + 1) % 3);
    let (training, stopping) = (set(&features, &classes, 0..30, 3), set(&features, &classes, 30..60, 3));
    let mut epochs = 0;
    let trained = train(&zeros(3), &training, Some(&stopping), &plan(), |_| epochs += 1).unwrap();
    assert_eq!((trained.epochs, epochs), (0, PATIENCE));
    assert!(values(trained.weight).unwrap().iter().all(|value| *value == 0.0));
}

#[test]
fn a_step_that_is_far_too_long_is_told() {
    let (features, classes) = clouds(30);
    let plan = Plan { learning_rate: 1e30, pull: 1.0, ..plan() };
    let outcome = train(&zeros(3), &set(&features, &classes, 0..30, 3), None, &plan, |_| ());
    assert!(matches!(outcome, Err(FinetuneError::Diverged { .. })), "{outcome:?}");
}
