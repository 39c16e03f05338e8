//! The operations that classify pictures. `schema.rs` has the JSON of their answers.

mod schema;

use std::time::Duration;

use futures_util::future::join_all;
use poem_openapi::param::{Header, Query};
use poem_openapi::payload::Json;
use poem_openapi::{OpenApi, Tags};

use super::State;
use super::caller::{Caller, ToPredict};
use super::failure::Failure;
use super::refused::{OfPictures, Refused};
use super::upload::{OneFile, RawPicture, SeveralFiles};
use kiln_classifier::{Classifier, ClassifyError, ImageError, Options, Picture, Prediction};
use kiln_runtime::telemetry::PhaseTimings;
use schema::{BatchBody, BatchItem, PredictionBody};

/// `POST /predict` and its siblings.
pub(super) struct Predict(pub(super) State);

#[derive(Tags)]
enum Tag {
    /// Classify pictures.
    Predict,
}

type Answer<T> = Result<Json<T>, Refused<OfPictures>>;

// The most milliseconds are the largest whole number that every reader of JSON takes exactly.
#[allow(clippy::too_many_arguments, reason = "each is a parameter in the OpenAPI document")]
#[OpenApi(tag = "Tag::Predict")]
impl Predict {
    /// Classify one picture of a form
    ///
    /// `curl -H "X-API-Key: $KEY" -F file=@cat.jpg http://localhost:8080/predict`
    ///
    /// Where the operator has answers kept, `Cache-Status` tells whether this one was, and `Cache-Control: no-store` asks for one
    /// of its own.
    #[oai(path = "/predict", method = "post", operation_id = "predict")]
    async fn predict(
        &self,
        caller: Caller<ToPredict>,
        /// How many classes to tell, most probable first.
        #[oai(default = "top_k_default", validator(minimum(value = "1"), maximum(value = "100")))]
        top_k: Query<u32>,
        /// The model to ask; the server's default where absent.
        model: Query<Option<String>>,
        /// The model's version, or `stable` or `canary`; the server chooses where absent.
        version: Query<Option<String>>,
        /// How many milliseconds an answer is worth waiting for; the server's own time-out where absent or longer.
        #[oai(name = "X-Request-Timeout-Ms", validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        patience_ms: Header<Option<u64>>,
        form: OneFile,
    ) -> Answer<PredictionBody> {
        let classifier = self.0.registry.resolve(model.as_deref(), version.as_deref())?;
        self.one(&caller, &classifier, form.0, self.options(&caller, top_k.0, patience_ms.0)).await
    }

    /// Classify one picture that is the whole body
    ///
    /// The quick way. `curl -H "X-API-Key: $KEY" --data-binary @cat.jpg http://localhost:8080/predict/raw`
    #[oai(path = "/predict/raw", method = "post", operation_id = "predict_raw")]
    async fn predict_raw(
        &self,
        caller: Caller<ToPredict>,
        /// How many classes to tell, most probable first.
        #[oai(default = "top_k_default", validator(minimum(value = "1"), maximum(value = "100")))]
        top_k: Query<u32>,
        /// The model to ask; the server's default where absent.
        model: Query<Option<String>>,
        /// The model's version, or `stable` or `canary`; the server chooses where absent.
        version: Query<Option<String>>,
        /// How many milliseconds an answer is worth waiting for; the server's own time-out where absent or longer.
        #[oai(name = "X-Request-Timeout-Ms", validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        patience_ms: Header<Option<u64>>,
        body: RawPicture,
    ) -> Answer<PredictionBody> {
        let classifier = self.0.registry.resolve(model.as_deref(), version.as_deref())?;
        self.one(&caller, &classifier, body.0, self.options(&caller, top_k.0, patience_ms.0)).await
    }

    /// Classify several pictures of a form
    ///
    /// One result or one error for each picture, in order: a bad picture does not spoil the others.
    #[oai(path = "/predict/batch", method = "post", operation_id = "predict_batch")]
    async fn predict_batch(
        &self,
        caller: Caller<ToPredict>,
        /// How many classes to tell, most probable first.
        #[oai(default = "top_k_default", validator(minimum(value = "1"), maximum(value = "100")))]
        top_k: Query<u32>,
        /// The model to ask; the server's default where absent.
        model: Query<Option<String>>,
        /// The model's version, or `stable` or `canary`; the server chooses where absent.
        version: Query<Option<String>>,
        /// How many milliseconds an answer is worth waiting for; the server's own time-out where absent or longer.
        #[oai(name = "X-Request-Timeout-Ms", validator(minimum(value = "1"), maximum(value = "9007199254740991")))]
        patience_ms: Header<Option<u64>>,
        form: SeveralFiles,
    ) -> Answer<BatchBody> {
        let classifier = self.0.registry.resolve(model.as_deref(), version.as_deref())?;
        let pictures = self.within_limit(form.0)?;
        let options = self.options(&caller, top_k.0, patience_ms.0);
        let one = |picture| classifier.classify(picture, options.clone());
        let answers = join_all(pictures.into_iter().map(one)).await;
        let timings = answers.iter().flatten().map(|prediction| prediction.timings);
        timings.max_by_key(PhaseTimings::total).into_iter().for_each(|slowest| caller.answered(slowest));
        let look_up = |answer: &Result<Prediction, ClassifyError>| match answer {
            Ok(prediction) => prediction.cache,
            // Refused by its name, before anything was looked for.
            Err(ClassifyError::Image(ImageError::ExtensionNotAccepted { .. })) => None,
            Err(_) => classifier.without_answer(&options),
        };
        caller.looked_up(answers.iter().filter_map(look_up));
        let item = |(index, answer)| batch_item(index, &classifier, answer, caller.request_id());
        Ok(Json(BatchBody { results: answers.into_iter().enumerate().map(item).collect() }))
    }
}

impl Predict {
    fn options(&self, caller: &Caller<ToPredict>, top_k: u32, patience_ms: Option<u64>) -> Options {
        let most = self.0.config.request_timeout;
        let patience = patience_ms.map_or(most, |ms| most.min(Duration::from_millis(ms)));
        caller.options(top_k as usize, patience, None)
    }

    async fn one(
        &self,
        caller: &Caller<ToPredict>,
        classifier: &Classifier,
        picture: Picture,
        options: Options,
    ) -> Answer<PredictionBody> {
        let prediction = classifier.classify(picture, options).await?;
        caller.answered(prediction.timings);
        caller.looked_up(prediction.cache);
        Ok(Json(PredictionBody::new(classifier.model(), prediction)))
    }

    fn within_limit(&self, pictures: Vec<Picture>) -> Result<Vec<Picture>, Failure> {
        let limit = self.0.config.max_batch_files;
        if pictures.len() <= limit {
            return Ok(pictures);
        }
        Err(Failure::too_many("files", pictures.len(), limit))
    }
}

fn top_k_default() -> u32 {
    5
}

fn batch_item(
    index: usize,
    classifier: &Classifier,
    answer: Result<Prediction, ClassifyError>,
    request_id: &str,
) -> BatchItem {
    let (result, error) = match answer {
        Ok(prediction) => (Some(PredictionBody::new(classifier.model(), prediction)), None),
        Err(error) => (None, Some(Failure::from(error).body(request_id))),
    };
    BatchItem { index: index as u32, result, error }
}
