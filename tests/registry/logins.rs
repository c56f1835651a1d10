//! Logins: whom the user's credentials are shown to, and whom never.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use pybox::registry::login::Welcome;
use pybox::registry::secret::Secret;
use pybox::registry::{Account, Client, Options, RegistryError};

use super::evil_registry::{EvilRegistry, Reply, Seen};
use super::image::Image;
use super::{client, layer, options, resolve};

/// A client with `auths` as its only auth file.
fn client_with(auths: &str, change: impl FnOnce(&mut Options)) -> (Client, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.json");
    std::fs::write(&path, auths).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut options = Options { auth_files: vec![dir.path().join("none.json"), path], ..options() };
    change(&mut options);
    (Client::new(options).unwrap(), dir)
}

fn auths(host: &str, entry: &str) -> String {
    format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)
}

fn challenge(realm: &str) -> Reply {
    Reply::status(401).with(
        "WWW-Authenticate",
        format!(r#"Bearer realm="{realm}",service="the registry",scope="repository:x/y:push""#),
    )
}

/// A registry that wants `token` from `realm` before it serves an image.
fn guarded(realm: String, token: &'static str) -> (EvilRegistry, Image) {
    let image = Image::new("amd64", 2000);
    let served = image.clone();
    let registry = EvilRegistry::start(move |seen| {
        if seen.header("authorization") == Some(token) { served.serve(seen) } else { challenge(&realm) }
    });
    (registry, image)
}

#[tokio::test]
async fn an_anonymous_token_is_fetched_once_and_used_for_all() {
    let tokens = EvilRegistry::start(|_| Reply::ok(r#"{"token":"t1","expires_in":300}"#));
    let (registry, image) = guarded(format!("http://{}/token?x=1", tokens.address()), "Bearer t1");
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
    let asked: Vec<Seen> = tokens.log();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].target, "/token?x=1&service=the+registry&scope=repository%3Ax%2Fy%3Apull");
    assert_eq!(asked[0].header("authorization"), None);
    assert_eq!(registry.log().len(), 3);
}

#[tokio::test]
async fn a_stored_password_goes_to_the_token_server_only() {
    let tokens = EvilRegistry::start(|seen| match seen.header("authorization") {
        Some("Basic dTpw") => Reply::ok(r#"{"access_token":"t2"}"#),
        _ => Reply { status: 401, ..Reply::ok(r#"{"details":"incorrect username or password"}"#) },
    });
    let (registry, _) = guarded(format!("http://{}/token", tokens.address()), "Bearer t2");
    let (right, _dir) = client_with(&auths(registry.address(), r#"{"auth":"dTpw"}"#), |_| {});
    assert!(resolve(&right, registry.address()).await.is_ok());
    assert!(tokens.log()[0].target.contains("account=u"));
    assert!(registry.log().iter().all(|seen| seen.header("authorization").is_none_or(|value| value == "Bearer t2")));
    let (wrong, _dir) = client_with(&auths(registry.address(), r#"{"auth":"dTp4"}"#), |_| {});
    let error = resolve(&wrong, registry.address()).await.expect_err("wrong password");
    assert!(error.to_string().contains("incorrect username or password"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains(&format!("pybox login {}", registry.address()))));
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let tokens = EvilRegistry::start(|_| Reply::ok(r#"{"access_token":"t3","refresh_token":"new"}"#));
    let (registry, _) = guarded(format!("http://{}/token", tokens.address()), "Bearer t3");
    let (client, _dir) =
        client_with(&auths(registry.address(), r#"{"auth":"dTpw","identitytoken":"re fresh"}"#), |_| {});
    assert!(resolve(&client, registry.address()).await.is_ok());
    let asked = &tokens.log()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    assert_eq!(
        asked.body,
        "grant_type=refresh_token&service=the+registry&client_id=pybox&scope=repository%3Ax%2Fy%3Apull&refresh_token=re+fresh"
    );
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn basic_is_for_the_registry_that_the_entry_names() {
    let image = Image::new("amd64", 10);
    let registry = EvilRegistry::start(move |seen| match seen.header("authorization") {
        Some("Basic dTpw") => image.serve(seen),
        _ => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let (client, _dir) = client_with(&auths(registry.address(), r#"{"auth":"dTpw"}"#), |_| {});
    assert!(resolve(&client, registry.address()).await.is_ok());
    let (other, _dir) = client_with(&auths("127.0.0.1:1", r#"{"auth":"dTpw"}"#), |_| {});
    let error = resolve(&other, registry.address()).await.expect_err("no entry");
    assert!(error.to_string().contains("asks for a user name and a password"), "{error}");
    let (wrong, _dir) = client_with(&auths(registry.address(), r#"{"auth":"eDp5"}"#), |_| {});
    let error = resolve(&wrong, registry.address()).await.expect_err("wrong password");
    assert!(error.to_string().contains("does not take the stored user name"), "{error}");
}

#[tokio::test]
async fn a_helper_is_asked_when_the_registry_asks() {
    let image = Image::new("amd64", 10);
    let registry = EvilRegistry::start(move |seen| match seen.header("authorization") {
        Some("Basic dTpw") => image.serve(seen),
        _ => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let bin = tempfile::tempdir().unwrap();
    let helper = bin.path().join("docker-credential-test");
    let script = "#!/bin/sh\ncat > \"$(dirname \"$0\")/asked\"\necho '{\"Username\":\"u\",\"Secret\":\"p\"}'\n";
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!(r#"{{"credHelpers":{{"{}":"test"}}}}"#, registry.address());
    let (client, _dir) = client_with(&config, |options| options.helper_dirs = vec![bin.path().to_owned()]);
    assert!(resolve(&client, registry.address()).await.is_ok());
    assert_eq!(std::fs::read_to_string(bin.path().join("asked")).unwrap(), registry.address());
    let (missing, _dir) = client_with(&config, |options| options.helper_dirs = vec![PathBuf::from("/nonexistent")]);
    let error = resolve(&missing, registry.address()).await.expect_err("no helper");
    assert!(error.to_string().contains("there is no docker-credential-test"), "{error}");
}

#[tokio::test]
async fn a_login_loop_ends() {
    let tokens = EvilRegistry::start(|_| Reply::ok(r#"{"token":"never good enough"}"#));
    let realm = format!("http://{}/token", tokens.address());
    let registry = EvilRegistry::start(move |_| challenge(&realm));
    let error = resolve(&client(), registry.address()).await.expect_err("401 for ever");
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    assert!(registry.log().len() <= 3 && tokens.log().len() <= 2);
}

#[tokio::test]
async fn realms_that_are_no_place_for_a_token_get_no_request() {
    let thief = EvilRegistry::start(|_| Reply::ok(r#"{"token":"x"}"#));
    let port = thief.address().rsplit(':').next().unwrap().to_owned();
    let realms = [
        format!("http://user:password@127.0.0.1:{port}/"),
        format!("http://user@127.0.0.1:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("https://0.0.0.0:{port}/"),
        format!("http://[::]:{port}/"),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://[::ffff:a9fe:a9fe]/x".to_owned(),
        "https://metadata.google.internal/x".to_owned(),
        "http://tokens.example/".to_owned(),
        "file:///etc/shadow".to_owned(),
        "//x".to_owned(),
        String::new(),
    ];
    for realm in realms {
        let (registry, _) = guarded(realm.clone(), "Bearer x");
        let (client, _dir) = client_with(&auths(registry.address(), r#"{"auth":"dTpw"}"#), |_| {});
        let error = resolve(&client, registry.address()).await.expect_err(&realm);
        assert!(matches!(error, RegistryError::RealmRefused { .. }), "{realm}: {error}");
        assert_eq!(registry.log().len(), 1, "{realm}");
    }
    assert!(thief.log().is_empty());
}

#[tokio::test]
async fn credentials_do_not_follow_a_realm_to_another_owner() {
    let (registry, _) = guarded("https://tokens.elsewhere.example/token".into(), "Bearer x");
    let (client, _dir) = client_with(&auths(registry.address(), r#"{"auth":"dTpw"}"#), |_| {});
    let error = resolve(&client, registry.address()).await.expect_err("another domain");
    assert!(error.to_string().contains("another domain"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("pybox logout")));
}

#[tokio::test]
async fn a_token_server_that_redirects_is_refused() {
    let thief = EvilRegistry::start(|_| Reply::ok(r#"{"token":"x"}"#));
    let place = format!("http://{}/", thief.address());
    let tokens = EvilRegistry::start(move |_| Reply::status(307).with("Location", place.clone()));
    let (registry, _) = guarded(format!("http://{}/token", tokens.address()), "Bearer x");
    let (client, _dir) = client_with(&auths(registry.address(), r#"{"auth":"dTpw"}"#), |_| {});
    let error = resolve(&client, registry.address()).await.expect_err("a redirect");
    assert!(error.to_string().contains("it redirects"), "{error}");
    assert!(thief.log().is_empty());
}

#[tokio::test]
async fn a_token_that_ran_out_is_renewed_in_the_middle() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let tokens_given = AtomicUsize::new(0);
    let tokens = EvilRegistry::start(move |_| {
        Reply::ok(format!(r#"{{"token":"t{}"}}"#, tokens_given.fetch_add(1, Ordering::SeqCst)))
    });
    let realm = format!("http://{}/token", tokens.address());
    let image = Image::new("amd64", 3000);
    let served = image.clone();
    let registry = EvilRegistry::start(move |seen| {
        let wanted = if seen.target.contains("/manifests/") { "Bearer t0" } else { "Bearer t1" };
        if seen.header("authorization") == Some(wanted) { served.serve(seen) } else { challenge(&realm) }
    });
    let client = client();
    let resolved = resolve(&client, registry.address()).await.unwrap();
    assert_eq!(layer(&client, &resolved).await.unwrap(), image.layer);
    assert_eq!(tokens.log().len(), 2);
}

async fn log_in(registry: &EvilRegistry, password: &str) -> Result<Welcome, RegistryError> {
    let account = Account::parse(registry.address()).unwrap();
    client().log_in(&account, "u", Secret::new(password.to_owned())).await
}

#[tokio::test]
async fn a_login_is_tried_at_the_door() {
    let basic = || {
        EvilRegistry::start(|seen| match seen.header("authorization") {
            Some("Basic dTpw") => Reply::ok("{}"),
            _ => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
        })
    };
    let registry = basic();
    assert_eq!(log_in(&registry, "p").await.unwrap(), Welcome::Known);
    assert!(registry.log().iter().all(|seen| seen.target == "/v2/"));
    let registry = basic();
    let error = log_in(&registry, "wrong").await.expect_err("wrong password");
    assert!(matches!(&error, RegistryError::LoginRefused { user, .. } if user == "u"), "{error}");
    assert!(error.to_string().ends_with("it does not take this user name and password"), "{error}");
    assert_eq!(registry.log().len(), 2, "a wrong password is not tried again and again");

    let tokens = EvilRegistry::start(|seen| match seen.header("authorization") {
        Some("Basic dTpw") => Reply::ok(r#"{"token":"t"}"#),
        _ => Reply { status: 401, ..Reply::ok(r#"{"details":"incorrect username or password"}"#) },
    });
    let (registry, _) = guarded(format!("http://{}/token", tokens.address()), "Bearer t");
    let error = log_in(&registry, "wrong").await.expect_err("wrong password");
    assert!(error.to_string().contains("incorrect username or password"), "{error}");
    // The image that it serves is not looked at, so what is behind the door does not matter.
    assert!(tokens.log()[0].target.contains("account=u") && !tokens.log()[0].target.contains("scope"));

    let open = EvilRegistry::start(|_| Reply::ok("{}"));
    assert_eq!(log_in(&open, "p").await.unwrap(), Welcome::Open);
    assert_eq!(open.log()[0].header("authorization"), None);
    let other = EvilRegistry::start(|_| Reply::status(404));
    assert!(log_in(&other, "p").await.expect_err("no registry").to_string().contains("no registry of images"));
    let thief = EvilRegistry::start(|_| {
        Reply::status(401).with("WWW-Authenticate", "Bearer realm=\"https://tokens.elsewhere.example/\"")
    });
    let error = log_in(&thief, "p").await.expect_err("another domain");
    assert!(matches!(error, RegistryError::RealmRefused { .. }), "{error}");
}

#[tokio::test]
async fn a_password_is_tried_at_the_host_that_was_named() {
    let named = EvilRegistry::start(|seen| match seen.header("authorization") {
        Some("Basic dTpw") => Reply::ok("{}"),
        _ => Reply::status(401).with("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let instead = EvilRegistry::start(|_| Reply::ok("{}"));
    let conf = format!("[[registry]]\nprefix = \"{}\"\nlocation = \"{}\"\n", named.address(), instead.address());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("registries.conf");
    std::fs::write(&path, conf).unwrap();
    let mut client = Client::new(Options { registries_conf: vec![path], ..options() }).unwrap();
    let account = Account::parse(named.address()).unwrap();
    assert_eq!(client.log_in(&account, "u", Secret::new("p".into())).await.unwrap(), Welcome::Known);
    assert!(instead.log().is_empty());
}

#[tokio::test]
async fn no_debug_output_has_a_secret_in_it() {
    let (registry, _) = guarded("http://127.0.0.1:1/".into(), "Bearer x");
    let (client, _dir) = client_with(&auths(registry.address(), r#"{"auth":"dTpodW50ZXIy"}"#), |_| {});
    let outcome = resolve(&client, registry.address()).await;
    let text = format!("{client:?} {outcome:?}");
    assert!(!text.contains("hunter2") && !text.contains("dTpodW50ZXIy"), "{text}");
}
