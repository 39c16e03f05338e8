//! The `preprocessor_config.json` of Hugging Face's image processors.

use model_import::Crop;
use model_import::Filter;
use model_import::import::Preprocess;
use serde_json::Value;

use super::json_values::{boolean, channels, filter, in_pixels, number, pixels};
use crate::model::onnx_model::InputInfo;

/// Above this size, ConvNeXT's processor resizes the whole photo without a crop.
const CONVNEXT_WHOLE: f64 = 384.0;

/// Parses the file. `None` if it does not describe images. Returns the preprocessing and warnings.
pub(super) fn parse(json: &Value, input: &InputInfo) -> Result<Option<(Preprocess, Vec<String>)>, String> {
    if !json.is_object() {
        return Err("it must be a JSON object".to_string());
    }
    let is_image_processor = ["image_mean", "size", "do_resize", "do_normalize", "resample", "crop_size"];
    if !is_image_processor.iter().any(|key| json.get(key).is_some()) {
        return Ok(None);
    }
    let mut warnings = Vec::new();
    let (filter, warning) = filter(json, "resample")?.unwrap_or((Filter::Bilinear, None));
    warnings.extend(warning);
    let (mean, std) = normalisation(json)?;
    let crop = crop(json, input, &mut warnings)?;
    Ok(Some((Preprocess { filter, crop, mean, std }, warnings)))
}

fn normalisation(json: &Value) -> Result<([f32; 3], [f32; 3]), String> {
    let rescales = boolean(json, "do_rescale")?.unwrap_or(true);
    let scale = if rescales { number(json, "rescale_factor")?.unwrap_or(1.0 / 255.0) } else { 1.0 };
    if scale <= 0.0 {
        return Err("'rescale_factor' must be above 0".to_string());
    }
    let offset = if rescales && boolean(json, "rescale_offset")?.unwrap_or(false) { 1.0 } else { 0.0 };
    let normalises = boolean(json, "do_normalize")?.unwrap_or(json.get("image_mean").is_some());
    let (mean, std) = match (normalises, channels(json, "image_mean")?, channels(json, "image_std")?) {
        (false, ..) => ([0.0; 3], [1.0; 3]),
        (true, Some(mean), Some(std)) => (mean, std),
        (true, ..) => return Err("'do_normalize' requires 'image_mean' and 'image_std'".to_string()),
    };
    Ok(in_pixels(mean, std, scale, offset))
}

/// The first resize of a processor.
enum Resize {
    /// The whole photo is stretched to a height and a width.
    Whole([f64; 2]),
    /// The shorter side gets this length.
    ShortestEdge(f64),
}

fn crop(json: &Value, input: &InputInfo, warnings: &mut Vec<String>) -> Result<Crop, String> {
    let (width, height) = (input.width as u32, input.height as u32);
    let side = f64::from(width.min(height));
    let crops = boolean(json, "do_center_crop")?.unwrap_or(false);
    let crop_pct = number(json, "crop_pct")?;
    let resize = match boolean(json, "do_resize")?.unwrap_or(true) {
        true => resize(json, crops || crop_pct.is_some())?,
        false => None,
    };
    // ConvNeXT: the shorter side is resized to size / crop_pct, and the central square is cut out.
    if let (Some(crop_pct), Some(Resize::ShortestEdge(size))) = (crop_pct, &resize) {
        let is_fraction = (0.05..=1.0).contains(&crop_pct);
        return match () {
            () if !is_fraction => Err("'crop_pct' must be from 0.05 to 1".to_string()),
            () if *size >= CONVNEXT_WHOLE => Ok(Crop::None),
            () => Ok(Crop::central_fraction(crop_pct, width, height)),
        };
    }
    let cropped = if crops { crop_side(json)?.unwrap_or(side) } else { side };
    let resized = match resize {
        None => return Ok(Crop::CentralPadded { padding: 0 }),
        Some(Resize::Whole([height, width])) if crops && height.min(width) > cropped => {
            warnings.push(
                "the photo is not stretched before its centre is cut out, as the training code does; photos that are not \
                 square differ a little"
                    .to_string(),
            );
            height.min(width)
        }
        Some(Resize::Whole(_)) => return Ok(Crop::None),
        Some(Resize::ShortestEdge(size)) => size,
    };
    if cropped > resized {
        warnings.push("the training code pads small photos with black, and Kiln resizes them".to_string());
    }
    Ok(Crop::central_fraction((cropped / resized).clamp(0.05, 1.0), width, height))
}

/// Returns the first resize. A number alone means the shorter side if the photo is cropped afterwards.
fn resize(json: &Value, is_cropped: bool) -> Result<Option<Resize>, String> {
    let size = match json.get("size") {
        None | Some(Value::Null) => return Ok(None),
        Some(size @ Value::Object(_)) => size,
        Some(_) => {
            let side = pixels(json, "size")?.unwrap_or(1.0);
            return Ok(Some(if is_cropped { Resize::ShortestEdge(side) } else { Resize::Whole([side; 2]) }));
        }
    };
    match (pixels(size, "shortest_edge")?, pixels(size, "height")?, pixels(size, "width")?) {
        (Some(side), ..) => Ok(Some(Resize::ShortestEdge(side))),
        (None, Some(height), Some(width)) => Ok(Some(Resize::Whole([height, width]))),
        _ => Err("'size' must have 'shortest_edge', or 'height' and 'width'".to_string()),
    }
}

/// Returns the shorter side of the central crop.
fn crop_side(json: &Value) -> Result<Option<f64>, String> {
    match json.get("crop_size") {
        Some(size @ Value::Object(_)) => match (pixels(size, "height")?, pixels(size, "width")?) {
            (Some(height), Some(width)) => Ok(Some(height.min(width))),
            _ => Err("'crop_size' must have 'height' and 'width'".to_string()),
        },
        _ => pixels(json, "crop_size"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_input;
    use super::*;
    use serde_json::json;

    fn parsed(json: &Value) -> Preprocess {
        parse(json, &test_input(224)).unwrap().unwrap().0
    }

    #[test]
    fn vision_transformer_stretches_and_maps_to_minus_one_to_one() {
        let vit = parsed(&json!({
            "do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
            "resample": 2, "size": 224
        }));
        let expected = Preprocess { filter: Filter::Bilinear, crop: Crop::None, mean: [127.5; 3], std: [127.5; 3] };
        assert_eq!(vit, expected);
    }

    #[test]
    fn resnet_and_convnext_crop_the_centre() {
        let resnet = json!({
            "crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_rescale": true,
            "rescale_factor": 0.00392156862745098, "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": {"shortest_edge": 256}
        });
        let values = parsed(&resnet);
        assert_eq!((values.filter, values.crop), (Filter::Bicubic, Crop::CentralPadded { padding: 32 }));
        assert!((values.mean[0] - 123.675).abs() < 1e-3 && (values.std[2] - 57.375).abs() < 1e-3, "{values:?}");
        let convnext = json!({"crop_pct": 0.875, "size": {"shortest_edge": 224}, "do_normalize": false});
        assert_eq!(parsed(&convnext).crop, Crop::CentralPadded { padding: 32 });
        let large = json!({"crop_pct": 0.875, "size": {"shortest_edge": 384}, "do_normalize": false});
        let large = parse(&large, &test_input(384)).unwrap().unwrap().0;
        assert_eq!((large.crop, large.mean, large.std), (Crop::None, [0.0; 3], [255.0; 3]));
    }

    #[test]
    fn rescale_offset_shifts_the_mean() {
        let efficientnet = json!({
            "do_rescale": true, "rescale_factor": 0.00784313725490196, "rescale_offset": true, "do_normalize": false,
            "size": {"height": 224, "width": 224}
        });
        let values = parsed(&efficientnet);
        assert!((values.mean[0] - 127.5).abs() < 1e-3 && (values.std[0] - 127.5).abs() < 1e-3, "{values:?}");
        assert_eq!(parsed(&json!({"do_rescale": false, "do_normalize": false})).std, [1.0; 3]);
    }

    #[test]
    fn other_files_and_invalid_values_are_recognised() {
        assert_eq!(parse(&json!({"feature_size": 80}), &test_input(224)).unwrap(), None);
        for (json, part) in [
            (json!([]), "JSON object"),
            (json!({"image_mean": [0.5]}), "requires"),
            (json!({"image_mean": "x", "image_std": [1]}), "'image_mean'"),
            (json!({"size": {"shortest_edge": 0}}), "from 1 to"),
            (json!({"size": {"longest_edge": 224}}), "'shortest_edge'"),
            (json!({"size": 1e300}), "from 1 to"),
            (json!({"resample": 9}), "'resample'"),
            (json!({"do_rescale": true, "rescale_factor": 0.0, "size": 224}), "above 0"),
            (json!({"do_resize": 1}), "true or false"),
        ] {
            let error = parse(&json, &test_input(224)).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
