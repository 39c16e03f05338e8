use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct Prediction {
    pub class_id: u32,
    pub label: String,
    pub probability: f32,
}

#[derive(Deserialize)]
struct Answer {
    predictions: Vec<Prediction>,
}

pub fn classify(server: &str, key: &str, picture: &[u8]) -> Result<Vec<Prediction>, ureq::Error> {
    let request = ureq::post(format!("{server}/predict/raw")).header("X-API-Key", key);
    let answer: Answer = request.send(picture)?.body_mut().read_json()?;
    Ok(answer.predictions)
}
