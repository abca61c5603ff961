//! `/account`, `/people`, `/keys`: oneself, others, programs.

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
        @if let Some(viewer) = &site.viewer {
            p.lead { "Logged in as " (viewer.name) ", who " (role_description(viewer.role)) "." }
        }
        section.panel aria-labelledby="password" {
            h2 #password { "Password" }
            (wrong(view.wrong.as_deref()))
            form.fields method="post" action="/account/password" {
                label { span { "Password now" }
                    input name="current" type="password" required autocomplete="current-password" maxlength="512";
                }
                label { span { "New password" }
                    input name="new" type="password" required autocomplete="new-password" minlength="10" maxlength="512" aria-describedby="password-how";
                }
                p #password-how .quiet { "At least 10 characters. Everywhere else you are logged out." }
                button.button type="submit" { "Change it" }
            }
        }
        section.panel aria-labelledby="sessions" {
            h2 #sessions { "Where you are logged in" }
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
                                    @if session.this { "This one" } @else {
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
                    button.button type="submit" { "Log out everywhere else" }
                }
            }
        }
    };
    layout(site, "You", Nav::Account, &LiveUpdates::No, &main)
}

/// `/people`.
pub fn users_page(site: &PageContext, view: &UsersView) -> Markup {
    let main = html! {
        (tabs(site, "/people"))
        h1 { "People" }
        @if let Some((name, link)) = &view.invited {
            section.panel.shown aria-labelledby="invited" {
                h2 #invited { "Send this link to " (name) }
                p { "With it a password is chosen, once, within 48 hours. It is shown only now." }
                pre { code { (site.origin) (link) } }
            }
        }
        div.scroll.panel tabindex="0" role="region" aria-label="People" {
            table {
                thead { tr {
                    th scope="col" { "Name" }
                    th scope="col" { "May" }
                    th scope="col" { "Last log-in" }
                    td {}
                } }
                tbody { @for person in &view.people { (row(site, person)) } }
            }
        }
        section.panel aria-labelledby="add" {
            h2 #add { "Add somebody" }
            form.fields method="post" action="/people" {
                label { span { "Name" }
                    input name="name" required autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="64";
                }
                label { span { "May" } (role_options(Role::Viewer)) }
                button.button.button-first type="submit" { "Make an invitation" }
            }
        }
    };
    layout(site, "People", Nav::Account, &LiveUpdates::No, &main)
}

fn row(site: &PageContext, person: &UserView) -> Markup {
    let address = format!("/people/{}", person.id);
    html! {
        tr {
            td { (person.name) @if person.oneself { " (you)" } }
            td {
                form.inline method="post" action={ (address) "/role" } {
                    (role_options(person.role))
                    button.button type="submit" { "Change" }
                }
            }
            td.when {
                @match person.seen_us {
                    Some(seen) => (time(seen, TimeFormat::Near, site.now_us)),
                    None if person.has_password => "Never",
                    None => "Invited",
                }
            }
            td {
                @if !person.oneself {
                    form.inline method="post" action={ (address) "/reset" } {
                        button.button type="submit" { "New password" }
                    }
                    details.inline {
                        summary { "Remove" }
                        form method="post" action={ (address) "/remove" } {
                            button.button type="submit" { "Remove " (person.name) }
                        }
                    }
                }
            }
        }
    }
}

/// `/keys`.
pub fn tokens_page(site: &PageContext, view: &TokensView) -> Markup {
    let main = html! {
        (tabs(site, "/keys"))
        h1 { "Keys" }
        p.lead { "For programs that use the API, and for cameras that bring pictures by HTTP." }
        @if let Some((name, secret)) = &view.made {
            section.panel.shown aria-labelledby="made" {
                h2 #made { "The key for " (name) }
                p { "Copy it now: it is shown once, and the cloud keeps only its hash." }
                pre { code { (secret) } }
                p.quiet { "Send it as " code { "Authorization: Bearer …" } "." }
            }
        }
        @if !view.keys.is_empty() {
            div.scroll.panel tabindex="0" role="region" aria-label="Keys" {
                table {
                    thead { tr {
                        th scope="col" { "For" }
                        th scope="col" { "Opens" }
                        th scope="col" { "Made" }
                        th scope="col" { "Last used" }
                        td {}
                    } }
                    tbody {
                        @for key in &view.keys {
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
                                    form method="post" action={ "/keys/" (key.id) "/revoke" } {
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
            h2 #add { "Make a key" }
            form.fields method="post" action="/keys" {
                label { span { "What it is for" } input name="name" required autocomplete="off" maxlength="64"; }
                label { span { "Opens" }
                    select name="role" {
                        option value="look" { "Looking" }
                        option value="manage" { "Looking and managing" }
                        option value="owner" { "Everything an owner may" }
                        option value="camera" { "Uploads of one camera" }
                    }
                }
                label { span { "Which camera, for uploads" }
                    input name="device" list="cameras" autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="64";
                }
                datalist #cameras { @for camera in &view.cameras { option value=(camera) {} } }
                button.button.button-first type="submit" { "Make it" }
            }
        }
    };
    layout(site, "Keys", Nav::Account, &LiveUpdates::No, &main)
}

fn tabs(site: &PageContext, here: &str) -> Markup {
    html! {
        nav.tabs aria-label="Account" {
            @for (address, text, least) in [
                ("/account", "You", Role::Viewer),
                ("/people", "People", Role::Owner),
                ("/keys", "Keys", Role::Owner),
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
        select name="role" aria-label="May" {
            @for role in Role::ALL {
                option value=(role) selected[role == chosen] { (role) }
            }
        }
    }
}

const fn role_description(role: Role) -> &'static str {
    match role {
        Role::Viewer => "may look",
        Role::Operator => "may look, ask cameras for something, and delete",
        Role::Owner => "owns this cloud",
    }
}
