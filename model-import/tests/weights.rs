//! Weights files that fit, that do not fit, and that are malicious.
#![forbid(unsafe_code)]

use burn::tensor::{Bytes, DType, Device, Tensor, TensorData};
use burn_store::burn_pack;
use burn_store::{BurnpackStore, ModuleStore};
use model_import::{BuiltIn, Layout, LoadError, Weights, WeightsMismatch};

/// The models that the build script generated from `tests/models`.
mod models {
    use model_import::{BuiltIn, Crop, Filter, Layout, ModelSpec, built_in};
    include!(concat!(env!("OUT_DIR"), "/tested_models.rs"));
}

fn model() -> &'static BuiltIn {
    models::MODELS.iter().find(|model| model.spec.name == "small-resnet").expect("the model was built")
}

fn tensors() -> Vec<burn_pack::Tensor> {
    let bytes = Bytes::from_bytes_vec(model().embedded().bytes().to_vec());
    BurnpackStore::from_bytes(Some(bytes)).get_all_tensors().unwrap().values().cloned().collect()
}

fn written(tensors: Vec<burn_pack::Tensor>) -> Weights {
    Weights::new(burn_pack::Writer::new(tensors).into_bytes().unwrap().to_vec())
}

fn mismatch(weights: &Weights) -> WeightsMismatch {
    match model().load_with(&Device::flex(), weights) {
        Err(LoadError::Mismatch { model, reason }) => {
            assert_eq!(model, "small-resnet");
            reason
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the weights fit"),
    }
}

fn logits(weights: &Weights) -> Vec<f32> {
    let network = model().load_with(&Device::flex(), weights).unwrap();
    let shape = [1, model().spec.height as usize, model().spec.width as usize, 3];
    let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i * 7919 % 256) as f32 / 128.0 - 1.0).collect();
    let images = Tensor::<4>::from_data(TensorData::new(values, shape), &Device::flex());
    assert_eq!(network.layout(), Layout::ChannelsLast);
    network.forward(images).into_data().try_into_vec().unwrap()
}

#[test]
fn weights_from_a_file_determine_the_logits() {
    let own = model().embedded();
    let copy = Weights::new(own.bytes().to_vec());
    assert!(own.is_embedded() && !copy.is_embedded());
    assert_eq!((own.sha256(), own.sha256().len()), (copy.sha256(), 64));
    assert_eq!(logits(&own), logits(&copy));
    // Written by another program.
    assert_eq!(logits(&own), logits(&written(tensors())));
    let negated = tensors().into_iter().map(|tensor| {
        let values: Vec<u8> = tensor
            .to_bytes()
            .unwrap()
            .chunks_exact(4)
            .flat_map(|four| (-f32::from_le_bytes(four.try_into().unwrap())).to_le_bytes())
            .collect();
        let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
        burn_pack::Tensor::new(name, tensor.dtype, shape, tensor.param_id, Bytes::from_bytes_vec(values))
    });
    assert_ne!(logits(&own), logits(&written(negated.collect())));
}

#[test]
fn mismatched_tensors_are_reported_by_name() {
    let mut all = tensors();
    let first = all.remove(0);
    assert_eq!(mismatch(&written(all.clone())), WeightsMismatch::Missing(vec![first.name.clone()]));
    let with = |name: &str, dtype: DType, shape: Vec<usize>, bytes: usize| {
        let other = burn_pack::Tensor::new(name.to_string(), dtype, shape, None, Bytes::from_bytes_vec(vec![0; bytes]));
        written(all.iter().cloned().chain([other]).collect())
    };
    let extra = written(
        tensors()
            .into_iter()
            .chain([burn_pack::Tensor::new(
                "one.more".to_string(),
                DType::F32,
                vec![1],
                None,
                Bytes::from_bytes_vec(vec![0; 4]),
            )])
            .collect(),
    );
    assert_eq!(mismatch(&extra), WeightsMismatch::Unexpected(vec!["one.more".to_string()]));
    let shape = with(&first.name, DType::F32, vec![7, 3], 84);
    assert!(
        matches!(mismatch(&shape), WeightsMismatch::Tensor { name, found, .. } if name == first.name && found == "F32 [7, 3]")
    );
    let count: usize = first.shape.iter().product();
    let half = with(&first.name, DType::F16, first.shape.to_vec(), count * 2);
    assert!(
        matches!(mismatch(&half), WeightsMismatch::Tensor { found, needed, .. } if found.starts_with("F16") && needed.starts_with("F32"))
    );
    let whole = with(&first.name, DType::I32, first.shape.to_vec(), count * 4);
    assert!(matches!(mismatch(&whole), WeightsMismatch::Tensor { .. }), "integers are not weights");
    assert!(matches!(mismatch(&written(Vec::new())), WeightsMismatch::Missing(all) if all.len() == tensors().len()));
    let message =
        LoadError::Mismatch { model: "m", reason: WeightsMismatch::Missing((0..9).map(|i| format!("t{i}")).collect()) };
    assert!(message.to_string().contains("it lacks 't0', 't1', 't2' and 6 more"), "{message}");
}

#[test]
fn truncated_or_corrupted_file_does_not_panic() {
    let file = model().embedded().bytes().to_vec();
    let load = |bytes: Vec<u8>| model().load_with(&Device::flex(), &Weights::new(bytes)).map(drop);
    // The header, the table of tensors, and some of the data.
    let metadata = 10 + u32::from_le_bytes(file[6..10].try_into().unwrap()) as usize;
    for length in (0..metadata).step_by(7).chain([metadata, metadata + 300, file.len() / 2, file.len() - 1]) {
        assert!(load(file[..length].to_vec()).is_err(), "cut at {length}");
    }
    for at in 0..metadata {
        for change in [0xff, 0x01, 0x80] {
            let mut changed = file.clone();
            changed[at] ^= change;
            // The file may still fit, for example if only the producer's name has changed.
            let _ = load(changed);
        }
    }
    assert!(matches!(mismatch(&Weights::new(vec![0; 64])), WeightsMismatch::Unreadable(_)));
    assert!(matches!(mismatch(&Weights::new(Vec::new())), WeightsMismatch::Unreadable(_)));
    let mut large = file.clone();
    large.resize(model().max_weight_bytes() + 1, 0);
    assert!(
        matches!(mismatch(&Weights::new(large)), WeightsMismatch::Unreadable(reason) if reason.contains("no more than"))
    );
    load(file).unwrap();
}

#[test]
fn digest_covers_graph_and_weights() {
    let (own, other) = (model().embedded(), Weights::new(vec![1]));
    assert_ne!(model().sha256_with(&own), model().sha256_with(&other));
    assert_ne!(model().sha256_with(&own), own.sha256());
    assert_eq!(model().sha256_with(&other), model().sha256_with(&other.clone()));
}
