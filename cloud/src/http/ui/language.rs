//! The language of a page: the reader's own choice in a cookie, then what the browser accepts, else English.

use axum::http::{HeaderMap, header};

use crate::http::cookies::cookie_of;

pub(super) const COOKIE: &str = "keepsake-language";

/// A language that the pages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    English,
    Korean,
    /// English in letters that no code writes, to find texts that are not from a message file.
    #[cfg(test)]
    Disguised,
}

impl Language {
    pub const ALL: [Self; 2] = [Self::English, Self::Korean];

    /// Returns the code for `<html lang>`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
            #[cfg(test)]
            Self::Disguised => "en",
        }
    }

    /// Returns the name that its speakers use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Korean => "한국어",
            #[cfg(test)]
            Self::Disguised => "",
        }
    }

    /// Returns the language of the answer to a request.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        cookie_of(headers, COOKIE)
            .as_deref()
            .and_then(Self::from_code)
            .or_else(|| accepted(headers))
            .unwrap_or(Self::English)
    }

    pub(super) fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }

    #[cfg(test)]
    pub(crate) fn disguise<'a>(self, key: &str, text: std::borrow::Cow<'a, str>) -> std::borrow::Cow<'a, str> {
        // Formats of dates are not words.
        if self != Self::Disguised || key.starts_with("date-") {
            return text;
        }
        let full_width = |letter: char| match letter {
            'a'..='z' | 'A'..='Z' => char::from_u32(u32::from(letter) + 0xFEE0).unwrap_or(letter),
            other => other,
        };
        text.chars().map(full_width).collect::<String>().into()
    }
}

/// Returns the best supported language of `Accept-Language`; of equal weights the first.
fn accepted(headers: &HeaderMap) -> Option<Language> {
    let mut best: Option<(f32, Language)> = None;
    let ranges = headers
        .get_all(header::ACCEPT_LANGUAGE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    for range in ranges {
        let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
        let weight = match parameters.trim().strip_prefix("q=") {
            Some(weight) => weight.trim().parse().unwrap_or(0.0),
            None => 1.0,
        };
        let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        if let Some(language) = Language::from_code(&primary)
            && weight > 0.0
            && best.is_none_or(|(before, _)| weight > before)
        {
            best = Some((weight, language));
        }
    }
    best.map(|(_, language)| language)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_readers_choice_comes_first_and_then_the_browsers_by_weight() {
        for (cookie, accept, language) in [
            ("", "", Language::English),
            ("", "*", Language::English),
            ("", "ko", Language::Korean),
            ("", "ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Language::Korean),
            ("", "KO-kr", Language::Korean),
            ("", "en-US,en;q=0.9,ko;q=0.8", Language::English),
            ("", "en;q=0.3, ko;q=0.7", Language::Korean),
            ("", "fr, de;q=0.9, ko;q=0.1", Language::Korean),
            ("", "ko;q=0, en;q=0.1", Language::English),
            ("", "ko;q=0", Language::English),
            ("", "kok", Language::English),
            ("", "ko;q=nonsense", Language::English),
            ("a=b; keepsake-language=ko", "en", Language::Korean),
            ("keepsake-language=en", "ko", Language::English),
            ("keepsake-language=xx", "ko", Language::Korean),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::from_static(cookie));
            headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(accept));
            assert_eq!(Language::of(&headers), language, "{cookie} {accept}");
        }
    }
}
