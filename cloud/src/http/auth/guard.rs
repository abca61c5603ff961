//! Who may do what, for pages and API alike, in one place.
//!
//! [`check`] stands before everything: it keeps other web sites from using a visitor's browser, and says how browsers
//! should treat what we send. [`admit`] stands before each route: it finds out who asks ([`Who`]) and compares that with
//! what the table wants ([`Access`]).
//!
//! A request that changes something and is known by its cookie must prove that it comes from our own pages: by
//! `Sec-Fetch-Site: same-origin`, or by an `Origin` that is our own where a browser sends no such header (old ones, and
//! all of them over plain http). One known by a key needs no such proof, as no browser adds a key by itself.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use keepsake_protocol::DeviceId;

use crate::auth::secret::SecretHash;
use crate::auth::tries::{Network, Subject};
use crate::auth::{KeyId, Rights, Role};
use crate::config::LabWayIn;
use crate::http::Site;
use crate::http::error::Problem;
use crate::http::ui::pages;
use crate::now_us;
use crate::store::{ApiToken, Login, StoreError};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// A browser keeps an expired session's cookie no longer than the session could last.
const COOKIE_AGE_S: i64 = 90 * 24 * 3600;
/// How often it is asked whether somebody who listens to the news still may.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(30);
/// Set by proxies; with one of them in a request, its peer is not who asks.
const FORWARDED: [&str; 5] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
];

/// Who may take a route. Each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everyone, whether there is an owner or not.
    Anyone,
    /// Whoever has the code, until there is an owner.
    SetUp,
    /// Everyone, once there is an owner: to log in.
    LogIn,
    /// Whoever may see pictures.
    Look,
    /// Whoever may ask cameras to do something, and change or delete what is stored.
    Manage,
    /// Whoever may say who else may.
    Owner,
    /// Somebody who is logged in, about himself. A key is nobody.
    Oneself,
    /// A camera that comes by HTTP; [`Who::may_speak_for`] says in whose name.
    Camera,
    /// A script that brings pictures the lab's way, or a camera.
    Upload,
}

/// Who makes a request; every handler may ask for it as an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Somebody unknown, where everyone may come.
    Nobody,
    /// Somebody logged in.
    Person {
        id: KeyId,
        name: String,
        role: Role,
        session: SecretHash,
    },
    /// A program with a key.
    Program { id: KeyId, name: String, role: Role },
    /// A camera with its upload key.
    Camera { id: KeyId, device: DeviceId },
    /// Somebody unknown who brings pictures the lab's way, where that is open.
    Lab,
}

impl Who {
    /// What somebody may do besides bringing pictures.
    pub(crate) fn role(&self) -> Option<Role> {
        match self {
            Self::Person { role, .. } | Self::Program { role, .. } => Some(*role),
            Self::Nobody | Self::Camera { .. } | Self::Lab => None,
        }
    }

    /// Whether pictures and words may be brought in the name of this camera.
    pub(crate) fn may_speak_for(&self, camera: &DeviceId) -> bool {
        match self {
            Self::Person { role, .. } | Self::Program { role, .. } => *role >= Role::Manage,
            Self::Camera { device, .. } => device == camera,
            Self::Lab => true,
            Self::Nobody => false,
        }
    }
}

/// From where a request comes; every handler may ask for it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The peer, or whom a proxy on this computer names.
    pub(crate) address: IpAddr,
    /// Peer and Host are this computer, and no proxy is between.
    pub(crate) local: bool,
    /// The browser speaks TLS, to us or to a proxy on this computer.
    pub(crate) secure: bool,
}

impl Caller {
    pub(crate) fn network(self) -> Network {
        self.address.into()
    }

    /// How the browser came here, for links that are sent on.
    pub(crate) fn origin(self, host: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{host}")
    }

    fn of(peer: Peer, headers: &HeaderMap) -> Self {
        let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
        let here = peer.address.to_canonical().is_loopback();
        // What the nearest proxy says stands last; the rest may be made up.
        let last = |name: &str| {
            let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            value.rsplit(',').next().map(str::trim)
        };
        let named = last("x-forwarded-for").filter(|_| here);
        let over_tls = here && last("x-forwarded-proto").is_some_and(|proto| proto == "https");
        Self {
            address: named
                .and_then(|name| name.parse().ok())
                .unwrap_or(peer.address),
            local: here && !forwarded && is_this_computer(text(headers, header::HOST)),
            secure: peer.tls || over_tls,
        }
    }
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) tls: bool,
}

/// Before everything: refuses what another web site had a browser do, and says how to treat the answer.
pub(crate) async fn check(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get().copied().unwrap_or(Peer {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        tls: false,
    });
    let headers = request.headers_mut();
    if !headers.contains_key(header::HOST)
        && let Some(authority) = request.uri().authority()
    {
        // HTTP/2 says it in `:authority`.
        let host = HeaderValue::from_str(authority.as_str());
        host.map(|host| request.headers_mut().insert(header::HOST, host))
            .ok();
    }
    let caller = Caller::of(peer, request.headers());
    request.extensions_mut().insert(caller);
    let refusal = refusal(request.method(), request.headers());
    let mut response = match refusal {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pictures bring a stricter one of their own.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(POLICY));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if caller.secure && site.config.hsts_days > 0 {
        let seconds = u64::from(site.config.hsts_days) * 24 * 3600;
        if let Ok(value) = HeaderValue::from_str(&format!("max-age={seconds}")) {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, value);
        }
    }
    response
}

/// Lets a request through to its route, or not.
pub(crate) async fn admit(
    State((site, access)): State<(Site, Access)>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = caller(request.extensions());
    match who_comes(&site, access, request.method(), request.headers(), caller).await {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(refusal) => refused(refusal, &request),
    }
}

/// Who asks, and the site: what a page is drawn for.
pub(crate) struct Visit {
    pub(crate) site: Site,
    pub(crate) who: Who,
    pub(crate) caller: Caller,
    /// As the browser named it.
    pub(crate) host: String,
}

impl std::ops::Deref for Visit {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl FromRequestParts<Site> for Visit {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Self::Rejection> {
        let who = parts.extensions.get().cloned().unwrap_or(Who::Nobody);
        Ok(Self {
            site: site.clone(),
            who,
            caller: caller(&parts.extensions),
            host: text(&parts.headers, header::HOST).to_owned(),
        })
    }
}

/// The cookie that makes a browser known from now on; without a secret, one that makes it forget.
pub(crate) fn cookie(site: &Site, caller: Caller, secret: Option<&str>) -> HeaderValue {
    let (value, age) = secret.map_or(("", 0), |secret| (secret, COOKIE_AGE_S));
    let name = cookie_name(site, caller.secure);
    let secure = if caller.secure { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
    HeaderValue::from_str(&cookie).expect("hexadecimal digits and constants")
}

/// Cookies know no ports, so two clouds on one computer need two names.
fn cookie_name(site: &Site, secure: bool) -> String {
    let store = site.store.id().to_string();
    // The prefix makes browsers refuse one that another host of the domain has set.
    let prefix = if secure { "__Host-" } else { "" };
    format!("{prefix}keepsake-{}", &store[..8])
}

#[derive(Debug)]
enum Refusal {
    /// Nothing but set-up answers.
    SetUpFirst,
    LogInFirst,
    /// Set-up is over.
    HasOwner,
    Problem(Problem),
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Problem(error.into())
    }
}

async fn who_comes(
    site: &Site,
    access: Access,
    method: &Method,
    headers: &HeaderMap,
    caller: Caller,
) -> Result<Who, Refusal> {
    if access == Access::Anyone {
        return Ok(Who::Nobody);
    }
    let who = identify(site, headers, caller).await?;
    if let Who::Person { .. } = who
        && !is_safe(method)
        && !comes_from_our_pages(headers)
    {
        return Err(Refusal::Problem(elsewhere()));
    }
    let has_owner = match site.doors.has_owner(&site.store).await {
        Ok(has_owner) => has_owner,
        // Somebody whom the store knew lately may be told that it is away.
        Err(_) if who.role().is_some() => true,
        Err(error) => return Err(error.into()),
    };
    let lab = match site.config.lab_way_in {
        LabWayIn::Loopback => caller.local,
        // What is open to everyone is bringing a picture, not being a camera.
        LabWayIn::Open => caller.local || access == Access::Upload,
        LabWayIn::Token => false,
    };
    decide(access, who, has_owner, lab)
}

/// The rule itself.
fn decide(access: Access, who: Who, has_owner: bool, lab: bool) -> Result<Who, Refusal> {
    let least = match access {
        Access::Anyone => return Ok(who),
        Access::SetUp if has_owner => return Err(Refusal::HasOwner),
        Access::SetUp => return Ok(who),
        Access::LogIn if has_owner => return Ok(who),
        Access::LogIn => return Err(Refusal::SetUpFirst),
        Access::Look => Role::Look,
        Access::Manage => Role::Manage,
        Access::Owner => Role::Owner,
        Access::Oneself => match who {
            Who::Person { .. } => return Ok(who),
            Who::Program { .. } | Who::Camera { .. } => return Err(not_yours()),
            Who::Nobody | Who::Lab => Role::Look,
        },
        Access::Camera | Access::Upload => match who {
            Who::Camera { .. } => return Ok(who),
            Who::Nobody if lab => return Ok(Who::Lab),
            Who::Nobody | Who::Lab | Who::Person { .. } | Who::Program { .. } => Role::Manage,
        },
    };
    match (who.role(), &who) {
        (Some(_), Who::Person { .. }) if !has_owner => Err(Refusal::SetUpFirst),
        (Some(role), _) if role >= least => Ok(who),
        (Some(_), _) | (None, Who::Camera { .. }) => Err(not_yours()),
        // A key was made by somebody with a shell on this computer, so it is good before there is an owner.
        (None, _) if has_owner => Err(Refusal::LogInFirst),
        (None, _) => Err(Refusal::SetUpFirst),
    }
}

fn not_yours() -> Refusal {
    Refusal::Problem(Problem::new(
        StatusCode::FORBIDDEN,
        "This is for people and keys that may do more. An owner can change that.",
    ))
}

/// Whom the key or the cookie of a request belongs to. A wrong key is refused; a cookie that is over is none.
async fn identify(site: &Site, headers: &HeaderMap, caller: Caller) -> Result<Who, Refusal> {
    if headers.contains_key(header::AUTHORIZATION) {
        return identify_key(site, headers, caller).await;
    }
    let Some(secret) = cookie_of(headers, &cookie_name(site, caller.secure)) else {
        return Ok(Who::Nobody);
    };
    let secret = SecretHash::of(secret);
    let login = match site.store.login(&secret, now_us()).await {
        Ok(login) => login,
        Err(error) => return site.doors.lately(&secret).ok_or(error.into()),
    };
    let Some(login) = login else {
        return Ok(Who::Nobody);
    };
    let who = Who::Person {
        id: login.person,
        name: login.name.clone(),
        role: login.role,
        session: secret,
    };
    site.doors.remember(&secret, &who);
    note_use(site, Used::Login(login));
    Ok(who)
}

async fn identify_key(site: &Site, headers: &HeaderMap, caller: Caller) -> Result<Who, Refusal> {
    let shown = bearer(headers).map(SecretHash::of);
    let token = match &shown {
        Some(secret) => match site.store.token(secret).await {
            Ok(token) => token,
            Err(error) => return site.doors.lately(secret).ok_or(error.into()),
        },
        None => None,
    };
    let (Some(secret), Some(token)) = (shown, token) else {
        site.doors
            .begin(&Subject::Key(caller.network()))
            .map_err(Refusal::Problem)?;
        return Err(Refusal::Problem(Problem::new(
            StatusCode::UNAUTHORIZED,
            "This key is not good here. It may have been revoked.",
        )));
    };
    let who = match &token.rights {
        Rights::Role(role) => Who::Program {
            id: token.id,
            name: token.name.clone(),
            role: *role,
        },
        Rights::Camera(device) => Who::Camera {
            id: token.id,
            device: device.clone(),
        },
    };
    site.doors.remember(&secret, &who);
    note_use(site, Used::Token(token));
    Ok(who)
}

enum Used {
    Login(Login),
    Token(ApiToken),
}

/// Beside the request: nobody should wait for a busy store to learn that he was here.
fn note_use(site: &Site, used: Used) {
    let store = site.store.clone();
    tokio::spawn(async move {
        let noted = match &used {
            Used::Login(login) => store.login_used(login, now_us()).await,
            Used::Token(token) => store.token_used(token, now_us()).await,
        };
        if let Err(error) = noted {
            tracing::debug!("note a use: {:#}", anyhow::Error::from(error));
        }
    });
}

/// Ends when somebody who was let in would not be any more. For what stays open: everything else is asked each time.
pub(crate) async fn until_unwelcome(site: Site, who: Who, secret: Option<SecretHash>) {
    let mut changes = site.doors.changes();
    loop {
        // What another process has changed is seen by looking now and then.
        let _ = tokio::time::timeout(LOOK_AGAIN_EVERY, changes.changed()).await;
        if !still_welcome(&site, &who, secret.as_ref()).await {
            return;
        }
    }
}

/// While the store does not answer, yes.
async fn still_welcome(site: &Site, who: &Who, secret: Option<&SecretHash>) -> bool {
    let Some(secret) = secret else {
        return true;
    };
    match who {
        Who::Person { .. } => !matches!(site.store.login(secret, now_us()).await, Ok(None)),
        Who::Program { .. } | Who::Camera { .. } => {
            !matches!(site.store.token(secret).await, Ok(None))
        }
        Who::Nobody | Who::Lab => true,
    }
}

/// What a request shows to be known by, as it is stored.
pub(crate) fn shown(site: &Site, headers: &HeaderMap, caller: Caller) -> Option<SecretHash> {
    let cookie = || cookie_of(headers, &cookie_name(site, caller.secure));
    bearer(headers).or_else(cookie).map(SecretHash::of)
}

fn refused(refusal: Refusal, request: &Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let page = pages::is_page(path);
    let problem = match refusal {
        Refusal::SetUpFirst if page => return Redirect::to("/setup").into_response(),
        Refusal::SetUpFirst => Problem::new(
            StatusCode::FORBIDDEN,
            "This cloud has no owner yet. Open /setup with the code from its log.",
        ),
        Refusal::LogInFirst if page && *method == Method::GET => {
            return Redirect::to(&format!("/login?next={}", escaped(request))).into_response();
        }
        Refusal::LogInFirst if page => return Redirect::to("/login").into_response(),
        Refusal::LogInFirst => Problem::new(
            StatusCode::UNAUTHORIZED,
            "Log in, or send a key as `Authorization: Bearer …`.",
        ),
        Refusal::HasOwner if page => return Redirect::to("/login").into_response(),
        Refusal::HasOwner => Problem::new(StatusCode::CONFLICT, "There is an owner already."),
        Refusal::Problem(problem) => problem,
    };
    if page {
        return pages::refusal(&problem);
    }
    let unauthorized = problem.status == StatusCode::UNAUTHORIZED;
    let mut response = problem.into_response();
    if unauthorized {
        let headers = response.headers_mut();
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"keepsake\""),
        );
    }
    response
}

/// The address of a request as a value in a query.
fn escaped(request: &Request) -> String {
    let wanted = request
        .uri()
        .path_and_query()
        .map_or("/", axum::http::uri::PathAndQuery::as_str);
    wanted
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn caller(extensions: &axum::http::Extensions) -> Caller {
    extensions.get().copied().unwrap_or(Caller {
        address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        local: false,
        secure: false,
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (only, None) = (all.next()?, all.next()) else {
        return None;
    };
    let (scheme, key) = only.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| key.trim())
        .filter(|key| !key.is_empty())
}

fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value)
}

/// Why a request is not even looked at.
fn refusal(method: &Method, headers: &HeaderMap) -> Option<Problem> {
    if headers.get_all(header::HOST).iter().count() != 1
        || text(headers, header::HOST).parse::<Authority>().is_err()
    {
        return Some(Problem::wrong("A request names one Host."));
    }
    // A browser adds no key by itself, so what has one is meant.
    if is_safe(method) || headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    comes_from_elsewhere(headers).then(elsewhere)
}

fn elsewhere() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "Only the pages of this service may ask for that.",
    )
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A browser says that another site is behind this. Programs say nothing.
fn comes_from_elsewhere(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => !matches!(site.as_bytes(), b"same-origin" | b"none"),
        None => headers.contains_key(header::ORIGIN) && !is_our_origin(headers),
    }
}

/// A browser says that one of our own pages is behind this.
fn comes_from_our_pages(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => site.as_bytes() == b"same-origin",
        None => is_our_origin(headers),
    }
}

fn is_our_origin(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return false;
    };
    // Before a proxy that speaks TLS for us it is https.
    let origin = origin.to_str().unwrap_or("");
    let host = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    host.is_some_and(|host| host.eq_ignore_ascii_case(text(headers, header::HOST)))
}

fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}

fn is_this_computer(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    name.eq_ignore_ascii_case("localhost")
        || name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn only_this_computer_without_a_proxy_is_local() {
        let check = |peer: &str, all: &[(&'static str, &'static str)], expected: bool| {
            let peer = Peer {
                address: peer.parse().unwrap(),
                tls: false,
            };
            let caller = Caller::of(peer, &headers(all));
            assert_eq!(caller.local, expected, "{peer:?} {all:?}");
        };
        for host in ["localhost", "localhost:5000", "127.0.0.1:1", "[::1]:5000"] {
            check("127.0.0.1", &[("host", host)], true);
            check("::1", &[("host", host)], true);
            check("10.0.0.2", &[("host", host)], false);
            for name in FORWARDED {
                check("127.0.0.1", &[("host", host), (name, "10.0.0.2")], false);
            }
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "a@localhost@b",
        ] {
            check("127.0.0.1", &[("host", host)], false);
        }
    }

    #[test]
    fn only_a_proxy_on_this_computer_is_believed() {
        let check = |peer: &str, all: &[(&'static str, &'static str)], address: &str, secure| {
            let peer = Peer {
                address: peer.parse().unwrap(),
                tls: false,
            };
            let caller = Caller::of(peer, &headers(all));
            assert_eq!(
                caller.address,
                address.parse::<IpAddr>().unwrap(),
                "{all:?}"
            );
            assert_eq!(caller.secure, secure, "{all:?}");
        };
        let told = [
            ("x-forwarded-for", "1.2.3.4, 203.0.113.7"),
            ("x-forwarded-proto", "https"),
        ];
        check("127.0.0.1", &told, "203.0.113.7", true);
        check("198.51.100.1", &told, "198.51.100.1", false);
        check(
            "127.0.0.1",
            &[("x-forwarded-for", "<b>")],
            "127.0.0.1",
            false,
        );
    }

    #[test]
    fn another_web_site_cannot_press_the_button() {
        let host = ("host", "cam.example:5000");
        let own = ("origin", "http://cam.example:5000");
        for (more, elsewhere, ours) in [
            (vec![], false, false),
            (vec![("sec-fetch-site", "same-origin")], false, true),
            (vec![("sec-fetch-site", "none")], false, false),
            (vec![("sec-fetch-site", "cross-site")], true, false),
            (vec![("sec-fetch-site", "cross-site"), own], true, false),
            (vec![("sec-fetch-site", "same-site")], true, false),
            (vec![own], false, true),
            (vec![("origin", "https://cam.example:5000")], false, true),
            (vec![own, own], true, false),
            (vec![("origin", "http://cam.example:5001")], true, false),
            (vec![("origin", "http://cam.example")], true, false),
            (vec![("origin", "http://evil.example")], true, false),
            (vec![("origin", "null")], true, false),
        ] {
            let all: Vec<_> = [vec![host], more].concat();
            let headers = headers(&all);
            assert_eq!(
                refusal(&Method::POST, &headers).is_some(),
                elsewhere,
                "{all:?}"
            );
            assert_eq!(comes_from_our_pages(&headers), ours, "{all:?}");
            assert!(refusal(&Method::GET, &headers).is_none());
        }
    }

    #[test]
    fn a_request_names_one_host() {
        for bad in [
            headers(&[]),
            headers(&[("host", "")]),
            headers(&[("host", "a"), ("host", "b")]),
            headers(&[("host", "a/b")]),
            headers(&[("host", "a b")]),
        ] {
            assert!(refusal(&Method::GET, &bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_camera_speaks_for_itself_alone() {
        let (porch, field): (DeviceId, DeviceId) =
            ("porch".parse().unwrap(), "field".parse().unwrap());
        let id = KeyId::new();
        let program = |role| Who::Program {
            id,
            name: "x".to_owned(),
            role,
        };
        let camera = Who::Camera {
            id,
            device: porch.clone(),
        };
        for (who, for_porch, for_field) in [
            (Who::Nobody, false, false),
            (Who::Lab, true, true),
            (camera, true, false),
            (program(Role::Look), false, false),
            (program(Role::Manage), true, true),
            (program(Role::Owner), true, true),
        ] {
            assert_eq!(who.may_speak_for(&porch), for_porch, "{who:?}");
            assert_eq!(who.may_speak_for(&field), for_field, "{who:?}");
        }
    }
}
