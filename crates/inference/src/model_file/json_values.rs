//! Reads numbers and lists from JSON files of other programs. An absent or null key is `None`; a key of another type is an
//! error.

use model_import::Filter;
use serde_json::Value;

/// The largest image size in pixels that a file may name.
const MAX_PIXELS: f64 = 65_536.0;

/// Returns a switch.
pub(super) fn boolean(json: &Value, key: &str) -> Result<Option<bool>, String> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(format!("'{key}' must be true or false")),
    }
}

/// Returns a finite number.
pub(super) fn number(json: &Value, key: &str) -> Result<Option<f64>, String> {
    match json.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_f64().filter(|number| number.is_finite());
            number.map(Some).ok_or_else(|| format!("'{key}' must be a number"))
        }
    }
}

/// Returns a size in pixels.
pub(super) fn pixels(json: &Value, key: &str) -> Result<Option<f64>, String> {
    let value = number(json, key)?;
    match value.is_none_or(|value| (1.0..=MAX_PIXELS).contains(&value)) {
        true => Ok(value),
        false => Err(format!("'{key}' must be a size in pixels, from 1 to {MAX_PIXELS}")),
    }
}

/// Returns three numbers, for red, green and blue. One number, or a list of one, is used for all.
pub(super) fn channels(json: &Value, key: &str) -> Result<Option<[f64; 3]>, String> {
    let invalid = || format!("'{key}' must be one number, or three, for red, green and blue");
    let numbers: Vec<f64> = match json.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(all)) => all.iter().map(Value::as_f64).collect::<Option<_>>().ok_or_else(invalid)?,
        Some(value) => vec![value.as_f64().ok_or_else(invalid)?],
    };
    match numbers[..] {
        [one] => Ok(Some([one; 3])),
        // A fourth number is that of the alpha channel, which is opaque.
        [red, green, blue] | [red, green, blue, _] => Ok(Some([red, green, blue])),
        _ => Err(invalid()),
    }
}

/// Returns a resize filter by Pillow's number or name, and a warning if Kiln replaces it.
pub(super) fn filter(json: &Value, key: &str) -> Result<Option<(Filter, Option<String>)>, String> {
    let value = match json.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    let exact = |filter| Ok(Some((filter, None)));
    let replaced = |name: &str| {
        let warning = format!("the filter '{name}' is replaced by bilinear, which may cost a little accuracy");
        Ok(Some((Filter::Bilinear, Some(warning))))
    };
    match (value.as_u64(), value.as_str()) {
        (Some(1), _) | (_, Some("lanczos")) => exact(Filter::Lanczos),
        (Some(2), _) | (_, Some("bilinear" | "random")) => exact(Filter::Bilinear),
        (Some(3), _) | (_, Some("bicubic")) => exact(Filter::Bicubic),
        (Some(0), _) | (_, Some("nearest")) => replaced("nearest"),
        (Some(4), _) | (_, Some("box")) => replaced("box"),
        (Some(5), _) | (_, Some("hamming")) => replaced("hamming"),
        _ => Err(format!("'{key}' must be a resize filter of Pillow: 0 to 5, or bilinear, bicubic or lanczos")),
    }
}

/// Returns the mean and the standard deviation in units of 0..=255, from values for pixels that were multiplied by `scale` and
/// from which `offset` was subtracted.
pub(super) fn in_pixels(mean: [f64; 3], std: [f64; 3], scale: f64, offset: f64) -> ([f32; 3], [f32; 3]) {
    (mean.map(|mean| ((mean + offset) / scale) as f32), std.map(|std| (std / scale) as f32))
}
