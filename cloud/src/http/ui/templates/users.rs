//! `/account`, `/users`, `/tokens`: oneself, others, programs.

use maud::{Markup, html};

use crate::auth::Role;
use crate::http::ui::format::{TimeFormat, time};
use crate::http::ui::templates::login::wrong;
use crate::http::ui::templates::{LiveUpdates, Nav, layout};
use crate::http::ui::views::{AccountView, PageContext, TokensView, UserView, UsersView};

/// `/account`.
pub fn account_page(site: &PageContext, view: &AccountView) -> Markup {
    let main = html! {
        (tabs(site, "/account"))
        h1 { "You" }
        @if let Some(user) = &site.user {
            p.lead { "Logged in as " (user.name) ", who " (role_description(user.role)) "." }
        }
        section.panel aria-labelledby="password" {
            h2 #password { "Password" }
            (wrong(view.wrong.as_deref()))
            form.fields method="post" action="/account/password" {
                label { span { "Current password" }
                    input name="current" type="password" required autocomplete="current-password" maxlength="512";
                }
                label { span { "New password" }
                    input name="new" type="password" required autocomplete="new-password" minlength="10" maxlength="512" aria-describedby="password-how";
                }
                p #password-how .quiet { "At least 10 characters. You'll be signed out on all other devices." }
                button.button type="submit" { "Change password" }
            }
        }
        section.panel aria-labelledby="sessions" {
            h2 #sessions { "Active sessions" }
            div.scroll tabindex="0" role="region" aria-labelledby="sessions" {
                table {
                    thead { tr {
                        th scope="col" { "Last used" }
                        th scope="col" { "Since" }
                        th scope="col" { "From" }
                        th scope="col" { "Browser" }
                        td {}
                    } }
                    tbody {
                        @for session in &view.sessions {
                            tr {
                                td.when { (time(session.used_us, TimeFormat::Near, site.now_us)) }
                                td.when { (time(session.created_us, TimeFormat::Near, site.now_us)) }
                                td { (session.address) }
                                td.outside { (session.agent) }
                                td {
                                    @if session.this { "This session" } @else {
                                        form method="post" action="/account/sessions/end" {
                                            button.button type="submit" name="session" value=(session.id) { "End" }
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
                    button.button type="submit" { "Log out all other sessions" }
                }
            }
        }
    };
    layout(site, "You", Nav::Account, &LiveUpdates::No, &main)
}

/// `/users`.
pub fn users_page(site: &PageContext, view: &UsersView) -> Markup {
    let main = html! {
        (tabs(site, "/users"))
        h1 { "Users" }
        @if let Some((name, link)) = &view.invited {
            section.panel.shown aria-labelledby="invited" {
                h2 #invited { "Send this link to " (name) }
                p { "They can use it once, within 48 hours, to set a password. You won't see it again." }
                pre { code { (site.origin) (link) } }
            }
        }
        div.scroll.panel tabindex="0" role="region" aria-label="Users" {
            table {
                thead { tr {
                    th scope="col" { "Name" }
                    th scope="col" { "Role" }
                    th scope="col" { "Last login" }
                    td {}
                } }
                tbody { @for user in &view.users { (row(site, user)) } }
            }
        }
        section.panel aria-labelledby="add" {
            h2 #add { "Add a user" }
            form.fields method="post" action="/users" {
                label { span { "Name" }
                    input name="name" required autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="64";
                }
                label { span { "Role" } (role_options(Role::Viewer)) }
                button.button.button-first type="submit" { "Create invitation" }
            }
        }
    };
    layout(site, "Users", Nav::Account, &LiveUpdates::No, &main)
}

fn row(site: &PageContext, user: &UserView) -> Markup {
    let address = format!("/users/{}", user.id);
    html! {
        tr {
            td { (user.name) @if user.current_user { " (you)" } }
            td {
                form.inline method="post" action={ (address) "/role" } {
                    (role_options(user.role))
                    button.button type="submit" { "Change" }
                }
            }
            td.when {
                @match user.seen_us {
                    Some(seen) => (time(seen, TimeFormat::Near, site.now_us)),
                    None if user.has_password => "Never",
                    None => "Invited",
                }
            }
            td {
                @if !user.current_user {
                    form.inline method="post" action={ (address) "/reset" } {
                        button.button type="submit" { "New password" }
                    }
                    details.inline {
                        summary { "Remove" }
                        form method="post" action={ (address) "/remove" } {
                            button.button type="submit" { "Remove " (user.name) }
                        }
                    }
                }
            }
        }
    }
}

/// `/tokens`.
pub fn tokens_page(site: &PageContext, view: &TokensView) -> Markup {
    let main = html! {
        (tabs(site, "/tokens"))
        h1 { "API tokens" }
        p.lead { "For programs that use the API, and for cameras that upload over HTTP." }
        @if let Some((name, secret)) = &view.made {
            section.panel.shown aria-labelledby="made" {
                h2 #made { "API token for " (name) }
                p { "Copy it now. You won't see it again." }
                pre { code { (secret) } }
                p.quiet { "Send it as " code { "Authorization: Bearer …" } "." }
            }
        }
        @if !view.tokens.is_empty() {
            div.scroll.panel tabindex="0" role="region" aria-label="API tokens" {
                table {
                    thead { tr {
                        th scope="col" { "Name" }
                        th scope="col" { "Access" }
                        th scope="col" { "Created" }
                        th scope="col" { "Last used" }
                        td {}
                    } }
                    tbody {
                        @for key in &view.tokens {
                            tr {
                                td { (key.name) }
                                td { (key.opens) }
                                td.when { (time(key.created_us, TimeFormat::Near, site.now_us)) }
                                td.when {
                                    @match key.used_us {
                                        Some(used) => (time(used, TimeFormat::Near, site.now_us)),
                                        None => "Never",
                                    }
                                }
                                td {
                                    form method="post" action={ "/tokens/" (key.id) "/revoke" } {
                                        button.button type="submit" { "Revoke" }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        section.panel aria-labelledby="add" {
            h2 #add { "Create an API token" }
            form.fields method="post" action="/tokens" {
                label { span { "Name" } input name="name" required autocomplete="off" maxlength="64"; }
                label { span { "Access" }
                    select name="role" {
                        option value="viewer" { "Viewer" }
                        option value="operator" { "Operator" }
                        option value="owner" { "Owner" }
                        option value="camera" { "Uploads of one camera" }
                    }
                }
                label { span { "Camera (for uploads)" }
                    input name="device" list="cameras" autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="64";
                }
                datalist #cameras { @for camera in &view.cameras { option value=(camera) {} } }
                button.button.button-first type="submit" { "Create token" }
            }
        }
    };
    layout(site, "API tokens", Nav::Account, &LiveUpdates::No, &main)
}

fn tabs(site: &PageContext, here: &str) -> Markup {
    html! {
        nav.tabs aria-label="Account" {
            @for (address, text, least) in [
                ("/account", "You", Role::Viewer),
                ("/users", "Users", Role::Owner),
                ("/tokens", "API tokens", Role::Owner),
            ] {
                @if site.may(least) {
                    a href=(address) aria-current=[(address == here).then_some("page")] { (text) }
                }
            }
        }
    }
}

fn role_options(chosen: Role) -> Markup {
    html! {
        select name="role" aria-label="Role" {
            @for role in Role::ALL {
                option value=(role) selected[role == chosen] { (role) }
            }
        }
    }
}

const fn role_description(role: Role) -> &'static str {
    match role {
        Role::Viewer => "can view",
        Role::Operator => "can view, send commands and delete",
        Role::Owner => "owns this cloud",
    }
}
