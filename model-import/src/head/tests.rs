use super::*;

/// A file with these tensors, each of the values 0, 1, 2 and so on.
fn file(tensors: &[(&str, &[usize])]) -> Weights {
    let tensor = |(name, shape): &(&str, &[usize])| {
        let count: usize = shape.iter().product();
        let bytes = (0..count).flat_map(|value| (value as f32).to_le_bytes()).collect();
        Tensor::new((*name).to_string(), DType::F32, shape.to_vec(), Some(7), Bytes::from_bytes_vec(bytes))
    };
    let writer = Writer::new(tensors.iter().map(tensor).collect()).with_metadata("producer", "a test");
    Weights::new(writer.into_bytes().unwrap().to_vec())
}

#[test]
fn a_head_is_found_in_either_layout() {
    // weight[feature, class] = class * 2 + feature, as a convolution stores it, and as Burn's Linear does.
    let by_class = file(&[("a.weight", &[4, 2, 3, 3]), ("b.weight", &[3, 2, 1, 1]), ("b.bias", &[3])]).head(3).unwrap();
    assert_eq!((by_class.features, by_class.classes), (2, 3));
    assert_eq!(by_class.weight, [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
    let by_feature = file(&[("linear.weight", &[2, 3]), ("linear.bias", &[3])]).head(3).unwrap();
    assert_eq!(by_feature.weight, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(by_feature.bias, [0.0, 1.0, 2.0]);
}

#[test]
fn what_is_not_clear_is_refused() {
    let refused = |tensors: &[(&str, &[usize])]| file(tensors).head(3).unwrap_err();
    assert_eq!(refused(&[("a.weight", &[2, 4]), ("a.bias", &[4])]), HeadError::None { classes: 3 });
    let twice =
        refused(&[("a.weight", &[3, 5, 1, 1]), ("a.bias", &[3]), ("b.weight", &[3, 5, 1, 1]), ("b.bias", &[3])]);
    assert_eq!(twice, HeadError::Several(vec!["a".to_string(), "b".to_string()]));
    assert_eq!(refused(&[("a.weight", &[3, 3]), ("a.bias", &[3])]), HeadError::Square("a.weight".to_string()));
    assert!(matches!(Weights::new(vec![1, 2, 3]).head(3), Err(HeadError::Unreadable(_))));
}

#[test]
fn of_several_layers_the_one_whose_names_belong_together_is_taken() {
    // A convolution that takes three channels, and the bias of another that gives three.
    let head =
        file(&[("a.weight", &[5, 3]), ("b.bias", &[3]), ("c.weight", &[4, 3]), ("c.bias", &[3])]).head(3).unwrap();
    assert_eq!(head.features, 4);
}

#[test]
fn another_head_changes_nothing_else_of_a_real_file() {
    let model = crate::MODELS.iter().find(|model| model.spec.name == "efficientnet-lite0").unwrap();
    let weights = model.embedded();
    let mut head = weights.head(model.spec.labels.len()).unwrap();
    assert_eq!((head.features, head.classes), (1280, 1000));
    head.weight.iter_mut().for_each(|value| *value += 1.0);
    head.bias[3] = 42.0;
    let changed = weights.with_head(&head).unwrap();
    assert_eq!(changed.head(1000).unwrap(), head);
    let (before, after) = (weights.tensors().unwrap(), changed.tensors().unwrap());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let mut different = Vec::new();
    for (name, tensor) in &before {
        let other = &after[name];
        assert_eq!(
            (tensor.dtype, &tensor.shape, tensor.param_id),
            (other.dtype, &other.shape, other.param_id),
            "{name}"
        );
        if tensor.to_bytes().unwrap()[..] != other.to_bytes().unwrap()[..] {
            different.push(name.clone());
        }
    }
    different.sort();
    let mut expected = vec![head.place.bias.clone(), head.place.weight.clone()];
    expected.sort();
    assert_eq!(different, expected);
    // The same head gives the same tensors, and a file that loads.
    let same = weights.with_head(&weights.head(1000).unwrap()).unwrap();
    assert_eq!(same.head(1000).unwrap(), weights.head(1000).unwrap());
    model.load_with(&burn::tensor::Device::flex(), &same).unwrap();
}

#[test]
fn selectors_let_each_feature_through_once() {
    let head = file(&[("b.weight", &[3, 7, 1, 1]), ("b.bias", &[3])]).head(3).unwrap();
    let features: Vec<f32> = (0..7).map(|feature| 0.1 + feature as f32).collect();
    let mut seen = Vec::new();
    for selector in (0..head.passes()).map(|pass| head.selector(pass)) {
        for class in 0..3 {
            let products = features.iter().enumerate().map(|(f, value)| value * selector.weight[f * 3 + class]);
            seen.push(products.sum::<f32>() + selector.bias[class]);
        }
    }
    assert_eq!(seen[..7], features);
    assert_eq!(seen[7..], [0.0, 0.0]);
}
