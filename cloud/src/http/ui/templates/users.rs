//! `/account`, `/users`, `/tokens`: oneself, others, programs.

use maud::{Markup, html};

use crate::auth::{Role, TokenScope};
use crate::http::ui::format::{TimeFormat, time};
use crate::http::ui::language::Language;
use crate::http::ui::messages::t;
use crate::http::ui::templates::login::wrong;
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::{AccountView, PageContext, TokensView, UserView, UsersView};

/// `/account`.
pub fn account_page(page: &PageContext, view: &AccountView) -> Markup {
    let lang = page.visitor.language;
    let main = html! {
        (tabs(page, "/account"))
        h1 { (t!(lang, "account-title")) }
        @if let Some(user) = &page.user {
            p.lead { (role_description(lang, user.role, &user.name)) }
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
            div.scroll tabindex="0" role="region" aria-labelledby="sessions" {
                table {
                    thead { tr {
                        th scope="col" { (t!(lang, "last-used")) }
                        th scope="col" { (t!(lang, "since")) }
                        th scope="col" { (t!(lang, "session-from")) }
                        th scope="col" { (t!(lang, "browser")) }
                        td {}
                    } }
                    tbody {
                        @for session in &view.sessions {
                            tr {
                                td.when { (time(lang, session.used_us, TimeFormat::Near, page.now_us)) }
                                td.when { (time(lang, session.created_us, TimeFormat::Near, page.now_us)) }
                                td { (session.address) }
                                td.outside { (session.agent) }
                                td {
                                    @if session.this { (t!(lang, "this-session")) } @else {
                                        form method="post" action="/account/sessions/end" {
                                            button.button type="submit" name="session" value=(session.id) { (t!(lang, "end-session")) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
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
        div.scroll.panel tabindex="0" role="region" aria-label=(t!(lang, "users")) {
            table {
                thead { tr {
                    th scope="col" { (t!(lang, "name")) }
                    th scope="col" { (t!(lang, "role")) }
                    th scope="col" { (t!(lang, "last-login")) }
                    td {}
                } }
                tbody { @for user in &view.users { (row(page, user)) } }
            }
        }
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

fn row(page: &PageContext, user: &UserView) -> Markup {
    let lang = page.visitor.language;
    let address = format!("/users/{}", user.id);
    html! {
        tr {
            td { (user.name) @if user.current_user { " " (t!(lang, "user-self")) } }
            td {
                form.inline method="post" action={ (address) "/role" } {
                    (role_options(lang, user.role))
                    button.button type="submit" { (t!(lang, "change")) }
                }
            }
            td.when {
                @match user.seen_us {
                    Some(seen) => (time(lang, seen, TimeFormat::Near, page.now_us)),
                    None if user.has_password => (t!(lang, "never")),
                    None => (t!(lang, "invited")),
                }
            }
            td {
                @if !user.current_user {
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
    let main = html! {
        (tabs(page, "/tokens"))
        h1 { (t!(lang, "tokens")) }
        p.lead { (t!(lang, "tokens-lead")) }
        @if let Some((name, secret)) = &view.made {
            section.panel.shown aria-labelledby="made" {
                h2 #made { (t!(lang, "token-for", name = name.as_str())) }
                p { (t!(lang, "token-copy")) }
                pre { code { (secret) } }
                p.quiet { (t!(lang, "token-header", header = html! { code { "Authorization: Bearer …" } })) }
            }
        }
        @if !view.tokens.is_empty() {
            div.scroll.panel tabindex="0" role="region" aria-label=(t!(lang, "tokens")) {
                table {
                    thead { tr {
                        th scope="col" { (t!(lang, "name")) }
                        th scope="col" { (t!(lang, "access")) }
                        th scope="col" { (t!(lang, "created")) }
                        th scope="col" { (t!(lang, "last-used")) }
                        td {}
                    } }
                    tbody {
                        @for key in &view.tokens {
                            tr {
                                td { (key.name) }
                                td { (access(lang, &key.scope)) }
                                td.when { (time(lang, key.created_us, TimeFormat::Near, page.now_us)) }
                                td.when {
                                    @match key.used_us {
                                        Some(used) => (time(lang, used, TimeFormat::Near, page.now_us)),
                                        None => (t!(lang, "never")),
                                    }
                                }
                                td {
                                    form method="post" action={ "/tokens/" (key.id) "/revoke" } {
                                        button.button type="submit" { (t!(lang, "revoke")) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        section.panel aria-labelledby="add" {
            h2 #add { (t!(lang, "create-token-title")) }
            form.fields method="post" action="/tokens" {
                label { span { (t!(lang, "name")) } input name="name" required autocomplete="off" maxlength="64"; }
                label { span { (t!(lang, "access")) }
                    select name="role" {
                        @for role in Role::ALL { option value=(role) { (role_name(lang, role)) } }
                        option value="camera" { (t!(lang, "access-camera")) }
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

/// The permission of an API token.
fn access(lang: Language, scope: &TokenScope) -> Markup {
    match scope {
        TokenScope::Role(role) => role_name(lang, *role),
        TokenScope::Camera(device) => t!(lang, "access-uploads", camera = device.as_str()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::http::ui::templates::fixtures::{HOSTILE, HOUR, MIN, NOW_US, id, page};
    use crate::http::ui::views::{SessionView, TokenView};

    /// The pages with views that show every state.
    pub(in crate::http::ui::templates) fn pages(page: &PageContext) -> Vec<(&'static str, Markup)> {
        vec![
            ("account", account_page(page, &account())),
            ("users", users_page(page, &users())),
            ("tokens", tokens_page(page, &tokens())),
        ]
    }

    fn account() -> AccountView {
        let session = |id: &str, agent: &str, this| SessionView {
            id: id.to_owned(),
            this,
            created_us: NOW_US - 30 * HOUR,
            used_us: NOW_US - MIN,
            address: "203.0.113.7".to_owned(),
            agent: agent.to_owned(),
        };
        AccountView {
            wrong: Some("Current password is incorrect.".to_owned()),
            sessions: vec![
                session("1", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0", true),
                session("2", HOSTILE, false),
            ],
        }
    }

    fn users() -> UsersView {
        let person = |name: &str, role, has_password, current_user| UserView {
            id: "00".repeat(16),
            name: name.to_owned(),
            role,
            current_user,
            has_password,
            seen_us: has_password.then_some(NOW_US - HOUR),
        };
        UsersView {
            invited: Some(("grace".to_owned(), "/invitation?code=0123".to_owned())),
            users: vec![
                person("ada", Role::Owner, true, true),
                person("grace", Role::Viewer, false, false),
                person(HOSTILE, Role::Operator, true, false),
            ],
        }
    }

    fn tokens() -> TokensView {
        let key = |name: &str, scope, used_us| TokenView {
            id: "00".repeat(16),
            name: name.to_owned(),
            scope,
            created_us: NOW_US - HOUR,
            used_us,
        };
        TokensView {
            made: Some((HOSTILE.to_owned(), "ks_0123".to_owned())),
            cameras: vec![id("porch")],
            tokens: vec![
                key("prometheus", TokenScope::Role(Role::Viewer), Some(NOW_US - MIN)),
                key(HOSTILE, TokenScope::Camera(id("porch")), None),
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
