//! Authorization of pages and API, in one place.
//!
//! `check` stands before everything: it keeps other web sites from using a visitor's browser, and says how browsers
//! should treat what we send. `admit` stands before each route: it finds out who asks (`Who`) and compares that with
//! what the table wants ([`Permission`]).
//!
//! A request that changes something and is known by its cookie must prove that it comes from our own pages: by
//! `Sec-Fetch-Site: same-origin`, or by an `Origin` that is our own where a browser sends no such header (old ones, and
//! all of them over plain http). One known by a key needs no such proof, as no browser adds a key by itself.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::uri::{Authority, PathAndQuery, Uri};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use keepsake_protocol::DeviceId;

use crate::auth::login_throttle::{Network, ThrottleKey};
use crate::auth::token::TokenHash;
use crate::auth::{PrincipalId, Role, TokenScope};
use crate::config::AnonymousUpload;
use crate::http::AppState;
use crate::http::error::{self, Problem};
use crate::http::ui::language::Language;
use crate::http::ui::views::Visitor;
use crate::now_us;
use crate::store::{ApiToken, LoginSession, StoreError};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// A browser keeps an expired session's cookie no longer than the session could last.
const COOKIE_AGE_S: i64 = 90 * 24 * 3600;
/// The interval between permission checks of an open stream.
const LOOK_AGAIN_EVERY: Duration = Duration::from_secs(30);
/// Set by proxies; with one of them in a request, its peer is not who asks.
const FORWARDED: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// The permission that a route needs. Each role includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Everyone, whether there is an owner or not.
    Anyone,
    /// A client with the setup code, until there is an owner.
    Setup,
    /// Everyone, once there is an owner: to log in.
    Login,
    /// A viewer: may see pictures.
    Viewer,
    /// An operator: may send commands, and change or delete stored data.
    Operator,
    /// An owner: may manage users and API tokens.
    Owner,
    /// A logged-in user, for the user's own account. API tokens are refused.
    SelfService,
    /// A camera that comes by HTTP; `Who::may_speak_for` says in whose name.
    Camera,
    /// A client that uploads pictures, or a camera.
    Upload,
}

/// The author of a request, as an extension of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A client without credentials.
    Anonymous,
    /// A logged-in user.
    User {
        id: PrincipalId,
        name: String,
        role: Role,
        session: TokenHash,
    },
    /// A program with a key.
    ApiToken { id: PrincipalId, name: String, role: Role },
    /// A camera with its upload key.
    Camera { id: PrincipalId, device: DeviceId },
    /// A client without credentials that uploads pictures, where anonymous upload is allowed.
    LegacyUpload,
}

impl Principal {
    /// Returns the role; none where only uploads are allowed.
    pub(crate) fn role(&self) -> Option<Role> {
        match self {
            Self::User { role, .. } | Self::ApiToken { role, .. } => Some(*role),
            Self::Anonymous | Self::Camera { .. } | Self::LegacyUpload => None,
        }
    }

    /// Returns true if pictures and messages may be sent in the name of this camera.
    pub(crate) fn may_act_for(&self, camera: &DeviceId) -> bool {
        match self {
            Self::User { role, .. } | Self::ApiToken { role, .. } => *role >= Role::Operator,
            Self::Camera { device, .. } => device == camera,
            Self::LegacyUpload => true,
            Self::Anonymous => false,
        }
    }
}

/// From where a request comes; every handler may ask for it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientInfo {
    /// The peer, or whom a proxy on this computer names.
    pub(crate) address: IpAddr,
    /// Peer and Host are this computer, and no proxy is between.
    pub(crate) local: bool,
    /// The browser speaks TLS, to us or to a proxy on this computer.
    pub(crate) secure: bool,
}

impl ClientInfo {
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
            address: named.and_then(|name| name.parse().ok()).unwrap_or(peer.address),
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
pub(crate) async fn security_headers(State(site): State<AppState>, mut request: Request, next: Next) -> Response {
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
        host.map(|host| request.headers_mut().insert(header::HOST, host)).ok();
    }
    let caller = ClientInfo::of(peer, request.headers());
    request.extensions_mut().insert(caller);
    let refusal = refusal(request.method(), request.headers());
    let mut response = match refusal {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    let is_html = text(headers, header::CONTENT_TYPE).starts_with("text/html");
    if is_html {
        headers.append(header::VARY, HeaderValue::from_static("accept-language, cookie"));
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
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
pub(crate) async fn authorize(
    State((site, access)): State<(AppState, Permission)>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = caller(request.extensions());
    match authenticate(&site, access, request.method(), request.headers(), caller).await {
        Ok(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(refusal) => denial_response(refusal, &request),
    }
}

/// The principal and the site that a page is drawn for.
pub(crate) struct RequestContext {
    pub(crate) site: AppState,
    pub(crate) principal: Principal,
    pub(crate) caller: ClientInfo,
    /// As the browser named it.
    pub(crate) host: String,
    pub(crate) visitor: Visitor,
}

impl std::ops::Deref for RequestContext {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.site
    }
}

impl FromRequestParts<AppState> for RequestContext {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, site: &AppState) -> Result<Self, Self::Rejection> {
        let principal = parts.extensions.get().cloned().unwrap_or(Principal::Anonymous);
        Ok(Self {
            site: site.clone(),
            principal,
            caller: caller(&parts.extensions),
            host: text(&parts.headers, header::HOST).to_owned(),
            visitor: visitor(&parts.method, &parts.uri, &parts.headers),
        })
    }
}

/// The reader of the answer. A form that was sent is not shown again by its own address, but by that of its page.
fn visitor(method: &Method, uri: &Uri, headers: &HeaderMap) -> Visitor {
    let sent_from = || text(headers, header::REFERER).parse::<Uri>().ok();
    let page = if *method == Method::GET {
        Some(uri.clone())
    } else {
        sent_from()
    };
    let path = page.as_ref().and_then(Uri::path_and_query);
    Visitor {
        language: Language::of(headers),
        here: path.map_or("/", PathAndQuery::as_str).to_owned(),
    }
}

/// The cookie that makes a browser known from now on; without a secret, one that makes it forget.
pub(crate) fn cookie(site: &AppState, caller: ClientInfo, secret: Option<&str>) -> HeaderValue {
    let (value, age) = secret.map_or(("", 0), |secret| (secret, COOKIE_AGE_S));
    let name = cookie_name(site, caller.secure);
    let secure = if caller.secure { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
    HeaderValue::from_str(&cookie).expect("hexadecimal digits and constants")
}

/// Cookies know no ports, so two clouds on one computer need two names.
fn cookie_name(site: &AppState, secure: bool) -> String {
    let store = site.store.id().to_string();
    // The prefix makes browsers refuse one that another host of the domain has set.
    let prefix = if secure { "__Host-" } else { "" };
    format!("{prefix}keepsake-{}", &store[..8])
}

#[derive(Debug)]
enum Denial {
    /// Nothing but set-up answers.
    SetupRequired,
    LoginRequired,
    /// Set-up is over.
    HasOwner,
    Problem(Problem),
}

impl From<StoreError> for Denial {
    fn from(error: StoreError) -> Self {
        Self::Problem(error.into())
    }
}

async fn authenticate(
    site: &AppState,
    access: Permission,
    method: &Method,
    headers: &HeaderMap,
    caller: ClientInfo,
) -> Result<Principal, Denial> {
    if access == Permission::Anyone {
        return Ok(Principal::Anonymous);
    }
    let principal = identify(site, headers, caller).await?;
    if let Principal::User { .. } = principal
        && !is_safe(method)
        && !is_same_site(headers)
    {
        return Err(Denial::Problem(cross_site_problem()));
    }
    let has_owner = match site.auth_state.has_owner(&site.store).await {
        Ok(has_owner) => has_owner,
        // A recently authenticated client may learn that the store is not available.
        Err(_) if principal.role().is_some() => true,
        Err(error) => return Err(error.into()),
    };
    let anonymous_upload = match site.config.anonymous_upload {
        Some(AnonymousUpload::Loopback) => caller.local,
        Some(AnonymousUpload::Everyone) => true,
        Some(AnonymousUpload::Off) => false,
        None => caller.local && !has_owner,
    };
    decide(access, principal, has_owner, anonymous_upload)
}

/// The rule itself.
fn decide(
    access: Permission,
    principal: Principal,
    has_owner: bool,
    anonymous_upload: bool,
) -> Result<Principal, Denial> {
    let least = match access {
        Permission::Anyone => return Ok(principal),
        Permission::Setup if has_owner => return Err(Denial::HasOwner),
        Permission::Setup => return Ok(principal),
        Permission::Login if has_owner => return Ok(principal),
        Permission::Login => return Err(Denial::SetupRequired),
        Permission::Viewer => Role::Viewer,
        Permission::Operator => Role::Operator,
        Permission::Owner => Role::Owner,
        Permission::SelfService => match principal {
            Principal::User { .. } => return Ok(principal),
            Principal::ApiToken { .. } | Principal::Camera { .. } => return Err(forbidden()),
            Principal::Anonymous | Principal::LegacyUpload => Role::Viewer,
        },
        Permission::Camera | Permission::Upload => match principal {
            Principal::Camera { .. } => return Ok(principal),
            // Only pictures: the camera endpoints hand out settings, which have passwords in them.
            Principal::Anonymous if anonymous_upload && access == Permission::Upload => {
                return Ok(Principal::LegacyUpload);
            }
            Principal::Anonymous | Principal::LegacyUpload | Principal::User { .. } | Principal::ApiToken { .. } => {
                Role::Operator
            }
        },
    };
    match (principal.role(), &principal) {
        (Some(_), Principal::User { .. }) if !has_owner => Err(Denial::SetupRequired),
        (Some(role), _) if role >= least => Ok(principal),
        (Some(_), _) | (None, Principal::Camera { .. }) => Err(forbidden()),
        // An API token was created in a shell on this computer, so it is valid before there is an owner.
        (None, _) if has_owner => Err(Denial::LoginRequired),
        (None, _) => Err(Denial::SetupRequired),
    }
}

fn forbidden() -> Denial {
    Denial::Problem(Problem::new(
        StatusCode::FORBIDDEN,
        "You don't have permission. Ask an owner for access.",
    ))
}

/// Whom the key or the cookie of a request belongs to. A wrong key is refused; a cookie that is over is none.
async fn identify(site: &AppState, headers: &HeaderMap, caller: ClientInfo) -> Result<Principal, Denial> {
    if headers.contains_key(header::AUTHORIZATION) {
        return identify_token(site, headers, caller).await;
    }
    let Some(secret) = cookie_of(headers, &cookie_name(site, caller.secure)) else {
        return Ok(Principal::Anonymous);
    };
    let secret = TokenHash::of(secret);
    let login = match site.store.session(&secret, now_us()).await {
        Ok(login) => login,
        Err(error) => {
            return site.auth_state.recently_authenticated(&secret).ok_or(error.into());
        }
    };
    let Some(login) = login else {
        return Ok(Principal::Anonymous);
    };
    let principal = Principal::User {
        id: login.user,
        name: login.name.clone(),
        role: login.role,
        session: secret,
    };
    site.auth_state.remember(&secret, &principal);
    record_use(site, CredentialUse::LoginSession(login));
    Ok(principal)
}

async fn identify_token(site: &AppState, headers: &HeaderMap, caller: ClientInfo) -> Result<Principal, Denial> {
    let shown = bearer(headers).map(TokenHash::of);
    let token = match &shown {
        Some(secret) => match site.store.token(secret).await {
            Ok(token) => token,
            Err(error) => {
                return site.auth_state.recently_authenticated(secret).ok_or(error.into());
            }
        },
        None => None,
    };
    let (Some(secret), Some(token)) = (shown, token) else {
        site.auth_state
            .throttle(&ThrottleKey::Key(caller.network()))
            .map_err(Denial::Problem)?;
        return Err(Denial::Problem(Problem::new(
            StatusCode::UNAUTHORIZED,
            "Invalid or revoked API token.",
        )));
    };
    let principal = match &token.scope {
        TokenScope::Role(role) => Principal::ApiToken {
            id: token.id,
            name: token.name.clone(),
            role: *role,
        },
        TokenScope::Camera(device) => Principal::Camera {
            id: token.id,
            device: device.clone(),
        },
    };
    site.auth_state.remember(&secret, &principal);
    record_use(site, CredentialUse::Token(token));
    Ok(principal)
}

enum CredentialUse {
    LoginSession(LoginSession),
    Token(ApiToken),
}

/// Beside the request: nobody should wait for a busy store to learn that he was here.
fn record_use(site: &AppState, used: CredentialUse) {
    let store = site.store.clone();
    tokio::spawn(async move {
        let noted = match &used {
            CredentialUse::LoginSession(login) => store.record_session_use(login, now_us()).await,
            CredentialUse::Token(token) => store.record_token_use(token, now_us()).await,
        };
        if let Err(error) = noted {
            tracing::debug!("note a use: {:#}", anyhow::Error::from(error));
        }
    });
}

/// Ends when `principal` loses access. For open streams: every other request is checked by itself.
pub(crate) async fn until_revoked(site: AppState, principal: Principal, secret: Option<TokenHash>) {
    let mut changes = site.auth_state.changes();
    loop {
        // What another process has changed is seen by looking now and then.
        let _ = tokio::time::timeout(LOOK_AGAIN_EVERY, changes.changed()).await;
        if !is_still_valid(&site, &principal, secret.as_ref()).await {
            return;
        }
    }
}

/// While the store does not answer, yes.
async fn is_still_valid(site: &AppState, principal: &Principal, secret: Option<&TokenHash>) -> bool {
    let Some(secret) = secret else {
        return true;
    };
    match principal {
        Principal::User { .. } => !matches!(site.store.session(secret, now_us()).await, Ok(None)),
        Principal::ApiToken { .. } | Principal::Camera { .. } => !matches!(site.store.token(secret).await, Ok(None)),
        Principal::Anonymous | Principal::LegacyUpload => true,
    }
}

/// What a request shows to be known by, as it is stored.
pub(crate) fn shown(site: &AppState, headers: &HeaderMap, caller: ClientInfo) -> Option<TokenHash> {
    let cookie = || cookie_of(headers, &cookie_name(site, caller.secure));
    bearer(headers).or_else(cookie).map(TokenHash::of)
}

fn denial_response(refusal: Denial, request: &Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let page = error::is_page(path);
    let problem = match refusal {
        Denial::SetupRequired if page => return Redirect::to("/setup").into_response(),
        Denial::SetupRequired => Problem::new(
            StatusCode::FORBIDDEN,
            "This cloud has no owner yet. Open /setup with the code from the server log.",
        ),
        Denial::LoginRequired if page && *method == Method::GET => {
            return Redirect::to(&format!("/login?next={}", escaped(request))).into_response();
        }
        Denial::LoginRequired if page => return Redirect::to("/login").into_response(),
        Denial::LoginRequired => Problem::new(
            StatusCode::UNAUTHORIZED,
            "Log in, or send an API token as `Authorization: Bearer …`.",
        ),
        Denial::HasOwner if page => return Redirect::to("/login").into_response(),
        Denial::HasOwner => Problem::new(StatusCode::CONFLICT, "This cloud already has an owner."),
        Denial::Problem(problem) => problem,
    };
    if page {
        return error::denied_page(&visitor(method, request.uri(), request.headers()), &problem);
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
    let wanted = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    wanted
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'/' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn caller(extensions: &axum::http::Extensions) -> ClientInfo {
    extensions.get().copied().unwrap_or(ClientInfo {
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

pub(crate) fn cookie_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
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
    if headers.get_all(header::HOST).iter().count() != 1 || text(headers, header::HOST).parse::<Authority>().is_err() {
        return Some(Problem::bad_request(
            "The request must have exactly one valid Host header.",
        ));
    }
    // A browser adds no key by itself, so what has one is meant.
    if is_safe(method) || headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    is_cross_site(headers).then(cross_site_problem)
}

fn cross_site_problem() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "Cross-site request refused.")
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A browser says that another site is behind this. Programs say nothing.
fn is_cross_site(headers: &HeaderMap) -> bool {
    match headers.get("sec-fetch-site") {
        Some(site) => !matches!(site.as_bytes(), b"same-origin" | b"none"),
        None => headers.contains_key(header::ORIGIN) && !is_our_origin(headers),
    }
}

/// A browser says that one of our own pages is behind this.
fn is_same_site(headers: &HeaderMap) -> bool {
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
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
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
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
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
            let caller = ClientInfo::of(peer, &headers(all));
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
            let caller = ClientInfo::of(peer, &headers(all));
            assert_eq!(caller.address, address.parse::<IpAddr>().unwrap(), "{all:?}");
            assert_eq!(caller.secure, secure, "{all:?}");
        };
        let told = [
            ("x-forwarded-for", "1.2.3.4, 203.0.113.7"),
            ("x-forwarded-proto", "https"),
        ];
        check("127.0.0.1", &told, "203.0.113.7", true);
        check("198.51.100.1", &told, "198.51.100.1", false);
        check("127.0.0.1", &[("x-forwarded-for", "<b>")], "127.0.0.1", false);
    }

    #[test]
    fn another_web_site_cannot_press_the_button() {
        let host = ("host", "cam.example:5000");
        let own = ("origin", "http://cam.example:5000");
        for (more, cross_site_problem, ours) in [
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
                cross_site_problem,
                "{all:?}"
            );
            assert_eq!(is_same_site(&headers), ours, "{all:?}");
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
        let (porch, field): (DeviceId, DeviceId) = ("porch".parse().unwrap(), "field".parse().unwrap());
        let id = PrincipalId::new();
        let program = |role| Principal::ApiToken {
            id,
            name: "x".to_owned(),
            role,
        };
        let camera = Principal::Camera {
            id,
            device: porch.clone(),
        };
        for (principal, for_porch, for_field) in [
            (Principal::Anonymous, false, false),
            (Principal::LegacyUpload, true, true),
            (camera, true, false),
            (program(Role::Viewer), false, false),
            (program(Role::Operator), true, true),
            (program(Role::Owner), true, true),
        ] {
            assert_eq!(principal.may_act_for(&porch), for_porch, "{principal:?}");
            assert_eq!(principal.may_act_for(&field), for_field, "{principal:?}");
        }
    }
}
