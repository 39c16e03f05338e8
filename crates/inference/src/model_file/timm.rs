//! The `config.json` of timm's models.

use model_import::Crop;
use model_import::Filter;
use model_import::import::Preprocess;
use serde_json::Value;

use super::json_values::{channels, filter, in_pixels, number};
use crate::model::onnx_model::InputInfo;

/// timm's `DEFAULT_CROP_PCT`.
const DEFAULT_CROP: f64 = 0.875;

/// Parses the file. `None` if it does not describe images. Returns the preprocessing and warnings.
pub(super) fn parse(json: &Value, input: &InputInfo) -> Result<Option<(Preprocess, Vec<String>)>, String> {
    let config = json.get("pretrained_cfg").filter(|config| config.is_object()).unwrap_or(json);
    let (Some(mean), Some(std)) = (channels(config, "mean")?, channels(config, "std")?) else { return Ok(None) };
    let mut warnings = Vec::new();
    let (filter, warning) = filter(config, "interpolation")?.unwrap_or((Filter::Bicubic, None));
    warnings.extend(warning);
    let (width, height) = (input.width as u32, input.height as u32);
    // An input of the test size has its own crop.
    let is_test_size = size(config, "test_input_size").is_some_and(|size| size == [input.height, input.width])
        && size(config, "input_size") != Some([input.height, input.width]);
    let test_crop = number(config, "test_crop_pct")?.filter(|_| is_test_size);
    let fraction = test_crop.or(number(config, "crop_pct")?).unwrap_or(DEFAULT_CROP);
    let crop = match config.get("crop_mode").and_then(Value::as_str) {
        // The whole photo is stretched to size / crop_pct, and its centre is cut out.
        Some("squash") if fraction >= 1.0 => Crop::None,
        _ if !(0.05..=1.0).contains(&fraction) => return Err("'crop_pct' must be from 0.05 to 1".to_string()),
        Some("squash" | "border") => {
            warnings
                .push("the crop mode is replaced by 'center'; photos that are not square differ a little".to_string());
            Crop::central_fraction(fraction, width, height)
        }
        _ => Crop::central_fraction(fraction, width, height),
    };
    if size(config, "input_size").is_some_and(|size| size != [input.height, input.width]) && !is_test_size {
        warnings.push(format!("config.json is for another image size than {width}x{height}"));
    }
    let (mean, std) = in_pixels(mean, std, 1.0 / 255.0, 0.0);
    Ok(Some((Preprocess { filter, crop, mean, std }, warnings)))
}

/// Returns height and width of `[channels, height, width]`.
fn size(config: &Value, key: &str) -> Option<[usize; 2]> {
    let size: Vec<usize> =
        config.get(key)?.as_array()?.iter().map(|n| n.as_u64().map(|n| n as usize)).collect::<Option<_>>()?;
    match size[..] {
        [_, height, width] => Some([height, width]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_input;
    use super::*;
    use serde_json::json;

    #[test]
    fn pretrained_cfg_has_precedence_over_the_top_level() {
        let config = json!({
            "architecture": "resnet50", "mean": [0, 0, 0], "std": [1, 1, 1],
            "pretrained_cfg": {
                "input_size": [3, 224, 224], "test_input_size": [3, 288, 288], "interpolation": "bicubic",
                "crop_pct": 0.95, "test_crop_pct": 1.0, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]
            }
        });
        let (values, warnings) = parse(&config, &test_input(224)).unwrap().unwrap();
        // timm resizes to floor(224 / 0.95) = 235.
        assert_eq!((values.filter, values.crop), (Filter::Bicubic, Crop::CentralPadded { padding: 11 }));
        assert!((values.mean[1] - 116.28).abs() < 1e-3 && warnings.is_empty(), "{values:?} {warnings:?}");
        let (values, _) = parse(&config, &test_input(288)).unwrap().unwrap();
        assert_eq!(values.crop, Crop::CentralPadded { padding: 0 });
        let (_, warnings) = parse(&config, &test_input(256)).unwrap().unwrap();
        assert!(warnings[0].contains("another image size"), "{warnings:?}");
    }

    #[test]
    fn config_without_mean_is_not_timms_and_wrong_values_are_errors() {
        assert_eq!(parse(&json!({"id2label": {"0": "cat"}}), &test_input(224)).unwrap(), None);
        let wrong = json!({"mean": [0, 0, 0], "std": [1, 1, 1], "crop_pct": 0});
        assert!(parse(&wrong, &test_input(224)).unwrap_err().contains("crop_pct"));
        let squash = json!({"mean": [0, 0, 0], "std": [1, 1, 1], "crop_pct": 1.0, "crop_mode": "squash"});
        assert_eq!(parse(&squash, &test_input(224)).unwrap().unwrap().0.crop, Crop::None);
    }
}
