//! Sizes and channels as they are typed.

/// `224x160`: width, then height.
///
/// # Errors
///
/// What it must be.
pub fn size(text: &str) -> Result<[u32; 2], String> {
    let side = |text: &str| text.parse::<u16>().ok().filter(|side| *side > 0).map(u32::from);
    let sides = text.split_once('x').and_then(|(width, height)| Some([side(width)?, side(height)?]));
    sides.ok_or_else(|| "it must be WIDTHxHEIGHT in pixels, such as 224x224".to_string())
}

/// `123.7,116.3,103.5`: red, green and blue, in units of 0..255. One number stands for all three.
///
/// # Errors
///
/// It is no such thing, or in units of 0..1.
pub fn channels(text: &str) -> Result<[f32; 3], String> {
    let numbers = text.split(',').map(|number| number.trim().parse().ok().filter(|value: &f32| value.is_finite()));
    let channels = match numbers.collect::<Option<Vec<f32>>>().as_deref() {
        Some(&[all]) => [all; 3],
        Some(&[red, green, blue]) => [red, green, blue],
        _ => return Err("it must be three numbers for red, green and blue with commas, in units of 0..255".to_string()),
    };
    // ImageNet's mean is often given as 0.485,0.456,0.406.
    if channels.iter().all(|value| *value > 0.0 && *value <= 1.0) {
        let [r, g, b] = channels.map(|value| value * 255.0);
        return Err(format!("it must be in units of 0..255; if these are in units of 0..1, give {r},{g},{b}"));
    }
    Ok(channels)
}

/// The same for what is divided by, which must be above 0.
///
/// # Errors
///
/// As [`channels`].
pub fn deviations(text: &str) -> Result<[f32; 3], String> {
    let channels = channels(text)?;
    if channels.iter().any(|value| *value <= 0.0) {
        return Err("each must be above 0, since pixels are divided by it".to_string());
    }
    Ok(channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_width_and_height() {
        assert_eq!(size("320x240"), Ok([320, 240]));
        for wrong in ["", "224", "224x", "0x5", "224x224x3", "-1x2", "70000x1"] {
            assert!(size(wrong).unwrap_err().contains("such as 224x224"), "{wrong}");
        }
    }

    #[test]
    fn channels_are_three_or_one_for_all_and_in_the_right_unit() {
        assert_eq!(channels("123.675, 116.28,103.53"), Ok([123.675, 116.28, 103.53]));
        assert_eq!(channels("0"), Ok([0.0; 3]));
        assert_eq!(deviations("255"), Ok([255.0; 3]));
        assert!(channels("1,2").is_err() && channels("a,b,c").is_err() && channels("NaN").is_err());
        assert!(deviations("0,1,2").is_err());
        let told = channels("0.485,0.456,0.406").unwrap_err();
        assert!(told.contains("give 123.67") && told.contains("116.28"), "{told}");
    }
}
