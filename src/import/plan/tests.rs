use std::io::Cursor;
use std::path::Path;

use model_import::Filter;
use model_import::import::inspect;

use super::*;

const RESNET: &str = "model-import/tests/models/small-resnet/small-resnet.onnx";

fn network() -> InspectedModel {
    inspect(Path::new(RESNET), None).unwrap()
}

fn order() -> Order {
    Order { onnx: RESNET.into(), labels: Some(Labels::Numbers), preset: Some(&PRESETS[0]), ..Order::default() }
}

/// The draft, and what stood on the terminal.
fn answered(order: &Order, answers: &str) -> (Draft, String) {
    let (mut input, mut output) = (Cursor::new(answers.to_string()), Vec::new());
    let mut asker = Asker::terminal(&mut input, &mut output);
    let name = name(order, &mut asker).unwrap();
    let draft = plan(order, &network(), &name, &[], &mut asker).unwrap();
    (draft, String::from_utf8(output).unwrap())
}

#[test]
fn with_labels_and_a_preset_nothing_is_asked() {
    let (draft, shown) = answered(&order(), "");
    assert_eq!(shown, "");
    assert_eq!((draft.name.as_str(), draft.version.as_str(), draft.licence.as_str()), ("small-resnet", "1", "unknown"));
    assert_eq!(draft.labels.len(), 10);
    assert_eq!(draft.preprocess, PRESETS[0].values(45, 61));
}

#[test]
fn flags_go_before_the_preset() {
    let flags = Order {
        filter: Some(Filter::Lanczos),
        crop: Some("none".to_string()),
        mean: Some([1.0, 2.0, 3.0]),
        std: Some([4.0; 3]),
        ..order()
    };
    let expected = Preprocess { filter: Filter::Lanczos, crop: Crop::None, mean: [1.0, 2.0, 3.0], std: [4.0; 3] };
    assert_eq!(answered(&flags, "").0.preprocess, expected);
    // All four of them need no preset, and no answer.
    let alone = Order { preset: None, ..flags };
    assert_eq!(answered(&alone, "").0.preprocess, expected);
}

#[test]
fn on_a_terminal_what_is_missing_is_asked_until_the_answer_will_do() {
    let nothing_told = Order { labels: None, preset: None, ..order() };
    let (draft, shown) = answered(&nothing_told, "a/b\nmy-net\n/no/such/file\nnumbers\ntorch\ntimm\nCats\n\nMIT\n");
    assert_eq!((draft.name.as_str(), draft.description.as_str(), draft.licence.as_str()), ("my-net", "Cats", "MIT"));
    assert_eq!(draft.source, "imported from small-resnet.onnx");
    assert_eq!(draft.preprocess.filter, Filter::Bicubic);
    for part in ["'a/b' must be letters", "cannot read /no/such/file", "it must be torchvision, ", "[torchvision]"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn elsewhere_what_is_missing_is_told_with_its_flag() {
    let refused = |order: Order| plan(&order, &network(), "net", &[], &mut Asker::nobody()).unwrap_err().to_string();
    let told = refused(Order { labels: None, ..order() });
    assert!(told.contains("--labels is missing") && told.contains("the 10 classes"), "{told}");
    let told = refused(Order { preset: None, ..order() });
    assert!(told.contains("--preset is missing") && told.contains("torchvision, torchvision-v2"), "{told}");
    let told = refused(Order { labels: Some(Labels::File("/no/such/file".into())), ..order() });
    assert!(told.contains("--labels: cannot read /no/such/file"), "{told}");
    let told = refused(Order { labels: Some(Labels::ImageNet), ..order() });
    assert!(told.contains("0 labels, but the network has 10 classes"), "{told}");
    let told = refused(Order { crop: Some("half".to_string()), ..order() });
    assert!(told.contains("--crop: it must be none, "), "{told}");
    let told = refused(Order { version: Some("1/2".to_string()), ..order() });
    assert!(told.contains("--model-version: '1/2' must be"), "{told}");
    let told = refused(Order { version: Some("canary".to_string()), ..order() });
    assert!(told.contains("--model-version: 'canary' must be no label"), "{told}");
}
