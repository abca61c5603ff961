//! `/account`, `/users`, `/tokens`: oneself, others, programs.

use maud::{Markup, html};

use crate::auth::{Role, TokenScope};
use crate::http::ui::components::table;
use crate::http::ui::format::{TimeFormat, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::t;
use crate::http::ui::templates::login::wrong;
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::{AccountView, PageContext, TokensView, UsersView};
use crate::store::User;

/// `/account`.
pub fn account_page(page: &PageContext, view: &AccountView) -> Markup {
    let lang = page.visitor.language;
    let when = |at_us| time(lang, at_us, TimeFormat::Near, page.now_us);
    let headings = [
        ("", t!(lang, "last-used")),
        ("", t!(lang, "since")),
        ("", t!(lang, "session-from")),
        ("", t!(lang, "browser")),
        ("", html! {}),
    ];
    let rows = html! {
        @for session in &view.sessions {
            tr {
                td.when { (when(session.used_us)) }
                td.when { (when(session.created_us)) }
                td { (session.address) }
                td.outside { (session.agent) }
                td {
                    @if session.secret == view.current_session { (t!(lang, "this-session")) } @else {
                        form method="post" action="/account/sessions/end" {
                            button.button type="submit" name="session" value=(session.secret.prefix()) {
                                (t!(lang, "end-session"))
                            }
                        }
                    }
                }
            }
        }
    };
    let main = html! {
        (tabs(page, "/account"))
        h1 { (t!(lang, "account-title")) }
        @if let Some(user) = &page.user {
            p.lead { (role_description(lang, page.role, user)) }
        }
        section.panel aria-labelledby="password" {
            h2 #password { (t!(lang, "password")) }
            (wrong(lang, view.wrong.as_deref()))
            form.fields method="post" action="/account/password" {
                label { span { (t!(lang, "current-password")) }
                    input name="current" type="password" required autocomplete="current-password" maxlength="512";
                }
                label { span { (t!(lang, "new-password")) }
                    input name="new" type="password" required autocomplete="new-password" minlength="10" maxlength="512" aria-describedby="password-how";
                }
                p #password-how .quiet { (t!(lang, "password-rule-account")) }
                button.button type="submit" { (t!(lang, "change-password")) }
            }
        }
        section.panel aria-labelledby="sessions" {
            h2 #sessions { (t!(lang, "sessions")) }
            (table(&t!(lang, "sessions"), &headings, &rows))
            @if view.sessions.len() > 1 {
                form method="post" action="/account/sessions/end" {
                    button.button type="submit" { (t!(lang, "end-other-sessions")) }
                }
            }
        }
    };
    layout(page, &t!(lang, "account-title"), Nav::Account, &LiveUpdates::No, &main)
}

/// `/users`.
pub fn users_page(page: &PageContext, view: &UsersView) -> Markup {
    let lang = page.visitor.language;
    let headings = [
        ("", t!(lang, "name")),
        ("", t!(lang, "role")),
        ("", t!(lang, "last-login")),
        ("", html! {}),
    ];
    let rows = html! { @for user in &view.users { (row(page, user, view.current_user == Some(user.id))) } };
    let main = html! {
        (tabs(page, "/users"))
        h1 { (t!(lang, "users")) }
        @if let Some((name, link)) = &view.invited {
            section.panel.shown aria-labelledby="invited" {
                h2 #invited { (t!(lang, "invitation-send", name = name.as_str())) }
                p { (t!(lang, "invitation-once")) }
                pre { code { (page.origin) (link) } }
            }
        }
        div.panel { (table(&t!(lang, "users"), &headings, &rows)) }
        section.panel aria-labelledby="add" {
            h2 #add { (t!(lang, "add-user")) }
            form.fields method="post" action="/users" {
                label { span { (t!(lang, "name")) }
                    input name="name" required autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="64";
                }
                label { span { (t!(lang, "role")) } (role_options(lang, Role::Viewer)) }
                button.button.button-first type="submit" { (t!(lang, "create-invitation")) }
            }
        }
    };
    layout(page, &t!(lang, "users"), Nav::Account, &LiveUpdates::No, &main)
}

fn row(page: &PageContext, user: &User, is_self: bool) -> Markup {
    let lang = page.visitor.language;
    let address = format!("/users/{}", user.id);
    html! {
        tr {
            td { (user.name) @if is_self { " " (t!(lang, "user-self")) } }
            td {
                form.inline method="post" action={ (address) "/role" } {
                    (role_options(lang, user.role))
                    button.button type="submit" { (t!(lang, "change")) }
                }
            }
            td.when {
                @match user.seen_us {
                    Some(seen) => (time(lang, seen, TimeFormat::Near, page.now_us)),
                    None if user.password.is_some() => (t!(lang, "never")),
                    None => (t!(lang, "invited")),
                }
            }
            td {
                @if !is_self {
                    form.inline method="post" action={ (address) "/reset" } {
                        button.button type="submit" { (t!(lang, "new-password")) }
                    }
                    details.inline {
                        summary { (t!(lang, "remove")) }
                        form method="post" action={ (address) "/remove" } {
                            button.button type="submit" { (t!(lang, "remove-user", name = user.name.as_str())) }
                        }
                    }
                }
            }
        }
    }
}

/// `/tokens`.
pub fn tokens_page(page: &PageContext, view: &TokensView) -> Markup {
    let lang = page.visitor.language;
    let when = |at_us| time(lang, at_us, TimeFormat::Near, page.now_us);
    let headings = [
        ("", t!(lang, "name")),
        ("", t!(lang, "role")),
        ("", t!(lang, "created")),
        ("", t!(lang, "last-used")),
        ("", html! {}),
    ];
    let rows = html! {
        @for token in &view.tokens {
            tr {
                td { (token.name) }
                td { (scope_name(lang, &token.scope)) }
                td.when { (when(token.created_us)) }
                td.when { (token.used_us.map_or_else(|| t!(lang, "never"), when)) }
                td {
                    form method="post" action={ "/tokens/" (token.id) "/revoke" } {
                        button.button type="submit" { (t!(lang, "revoke")) }
                    }
                }
            }
        }
    };
    let main = html! {
        (tabs(page, "/tokens"))
        h1 { (t!(lang, "tokens")) }
        p.lead { (t!(lang, "tokens-lead")) }
        @if let Some((name, secret)) = &view.created {
            section.panel.shown aria-labelledby="created" {
                h2 #created { (t!(lang, "token-for", name = name.as_str())) }
                p { (t!(lang, "token-copy")) }
                pre { code { (secret) } }
                p.quiet { (t!(lang, "token-header", header = html! { code { "Authorization: Bearer …" } })) }
            }
        }
        @if !view.tokens.is_empty() { div.panel { (table(&t!(lang, "tokens"), &headings, &rows)) } }
        section.panel aria-labelledby="add" {
            h2 #add { (t!(lang, "create-token-title")) }
            form.fields method="post" action="/tokens" {
                label { span { (t!(lang, "name")) } input name="name" required autocomplete="off" maxlength="64"; }
                label { span { (t!(lang, "role")) }
                    select name="role" {
                        @for role in Role::ALL { option value=(role) { (role_name(lang, role)) } }
                        option value="camera" { (t!(lang, "role-camera")) }
                    }
                }
                label { span { (t!(lang, "camera-for-uploads")) }
                    input name="device" list="cameras" autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="64";
                }
                datalist #cameras { @for camera in &view.cameras { option value=(camera) {} } }
                button.button.button-first type="submit" { (t!(lang, "create-token")) }
            }
        }
    };
    layout(page, &t!(lang, "tokens"), Nav::Account, &LiveUpdates::No, &main)
}

fn tabs(page: &PageContext, here: &str) -> Markup {
    let lang = page.visitor.language;
    html! {
        nav.tabs aria-label=(t!(lang, "account")) {
            @for (address, text, least) in [
                ("/account", t!(lang, "account-title"), Role::Viewer),
                ("/users", t!(lang, "users"), Role::Owner),
                ("/tokens", t!(lang, "tokens"), Role::Owner),
            ] {
                @if page.may(least) {
                    a href=(address) aria-current=[(address == here).then_some("page")] { (text) }
                }
            }
        }
    }
}

fn role_options(lang: Language, chosen: Role) -> Markup {
    html! {
        select name="role" aria-label=(t!(lang, "role")) {
            @for role in Role::ALL {
                option value=(role) selected[role == chosen] { (role_name(lang, role)) }
            }
        }
    }
}

fn role_name(lang: Language, role: Role) -> Markup {
    match role {
        Role::Viewer => t!(lang, "role-viewer"),
        Role::Operator => t!(lang, "role-operator"),
        Role::Owner => t!(lang, "role-owner"),
    }
}

fn role_description(lang: Language, role: Role, name: &str) -> Markup {
    match role {
        Role::Viewer => t!(lang, "account-viewer", name = name),
        Role::Operator => t!(lang, "account-operator", name = name),
        Role::Owner => t!(lang, "account-owner", name = name),
    }
}

fn scope_name(lang: Language, scope: &TokenScope) -> Markup {
    match scope {
        TokenScope::Role(role) => role_name(lang, *role),
        TokenScope::Camera(device) => t!(lang, "role-uploads", camera = device.as_str()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::auth::PrincipalId;
    use crate::auth::token::TokenHash;
    use crate::http::ui::templates::fixtures::{HOSTILE, HOUR, MIN, NOW_US, id, page};
    use crate::store::{ApiToken, LoginSession};

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
        vec![
            ("account", account_page(page, &account())),
            ("users", users_page(page, &users())),
            ("tokens", tokens_page(page, &tokens())),
        ]
    }

    fn principal(number: u8) -> PrincipalId {
        [number; 16].as_slice().try_into().unwrap()
    }

    fn account() -> AccountView {
        let session = |secret: &str, agent: &str| LoginSession {
            secret: TokenHash::of(secret),
            user: principal(1),
            name: "ada".to_owned(),
            role: Role::Owner,
            created_us: NOW_US - 30 * HOUR,
            used_us: NOW_US - MIN,
            address: "203.0.113.7".to_owned(),
            agent: agent.to_owned(),
        };
        AccountView {
            wrong: Some("Current password is incorrect.".to_owned()),
            sessions: vec![
                session("1", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"),
                session("2", HOSTILE),
            ],
            current_session: TokenHash::of("1"),
        }
    }

    fn users() -> UsersView {
        let user = |number, name: &str, role, has_password: bool| User {
            id: principal(number),
            name: name.to_owned(),
            role,
            password: has_password.then(|| "$argon2id$".to_owned()),
            created_us: NOW_US - HOUR,
            seen_us: has_password.then_some(NOW_US - HOUR),
        };
        UsersView {
            invited: Some(("grace".to_owned(), "/invitation?code=0123".to_owned())),
            users: vec![
                user(1, "ada", Role::Owner, true),
                user(2, "grace", Role::Viewer, false),
                user(3, HOSTILE, Role::Operator, true),
            ],
            current_user: Some(principal(1)),
        }
    }

    fn tokens() -> TokensView {
        let token = |number, name: &str, scope, used_us| ApiToken {
            id: principal(number),
            name: name.to_owned(),
            scope,
            created_us: NOW_US - HOUR,
            used_us,
        };
        TokensView {
            created: Some((HOSTILE.to_owned(), "ks_0123".to_owned())),
            cameras: vec![id("porch")],
            tokens: vec![
                token(4, "prometheus", TokenScope::Role(Role::Viewer), Some(NOW_US - MIN)),
                token(5, HOSTILE, TokenScope::Camera(id("porch")), None),
            ],
        }
    }

    #[test]
    fn a_viewer_sees_no_link_that_only_an_owner_may_follow() {
        let account = |page| account_page(page, &account()).into_string();
        let owner = page();
        let viewer = PageContext { role: Role::Viewer, ..page() };
        assert!(account(&owner).contains("href=\"/users\""));
        assert!(!account(&viewer).contains("href=\"/users\""));
    }
}
