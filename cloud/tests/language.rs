//! The language of the pages, asked of the real cloud over its socket.

mod harness;

use harness::{Cloud, authorization, cookie, request_bare};

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

#[tokio::test]
async fn a_page_is_in_the_language_of_the_reader() {
    let cloud = Cloud::start(&[]).await;
    let page = async |path: &str, headers: &str| {
        let headers = format!("{}{headers}", authorization(cloud.ready.http));
        let (_, head, body) = request_bare(cloud.ready.http, "GET", path, &headers, b"").await;
        (head.to_lowercase(), String::from_utf8(body).unwrap())
    };
    for (headers, lang, title) in [
        ("", "en", "Cameras"),
        ("accept-language: fr\r\n", "en", "Cameras"),
        ("accept-language: ko-KR,ko;q=0.9,en;q=0.8\r\n", "ko", "카메라"),
        ("accept-language: en\r\ncookie: keepsake-language=ko\r\n", "ko", "카메라"),
        ("accept-language: ko\r\ncookie: keepsake-language=en\r\n", "en", "Cameras"),
    ] {
        let (head, html) = page("/", headers).await;
        assert!(html.contains(&format!("<html lang=\"{lang}\">")), "{headers}");
        assert!(html.contains(&format!("<h1>{title}</h1>")), "{headers}");
        // No cache may give it to a reader of another language.
        assert!(head.contains("vary: accept-language, cookie"), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
    }
    let (_, html) = page("/cameras/nobody", "accept-language: ko\r\n").await;
    assert!(html.contains("이 이름의 카메라를 찾을 수 없습니다."), "{html}");
    // Programs get English, and nothing that varies.
    let (head, json) = page("/api/v1/pictures/nothing", "accept-language: ko\r\n").await;
    assert!(json.contains("There is no such picture.") && !head.contains("vary:"), "{head}");
    cloud.stop().await;
}

#[tokio::test]
async fn the_choice_of_a_language_leads_back_to_the_page_and_nowhere_else() {
    let cloud = Cloud::start(&[]).await;
    let (_, _, login) = request_bare(cloud.ready.http, "GET", "/login?next=%2Fpictures", "", b"").await;
    let login = String::from_utf8(login).unwrap();
    assert!(login.contains("action=\"/language\"") && login.contains("value=\"/login?next=%2Fpictures\""));
    for (next, location) in [
        ("%2Flogin%3Fnext%3D%252Fpictures", "/login?next=%2Fpictures"),
        ("", "/"),
        ("https%3A%2F%2Fevil.example", "/"),
        ("%2F%2Fevil.example", "/"),
        ("%2F%5Cevil.example", "/"),
    ] {
        let form = format!("next={next}&language=ko");
        let (status, head, _) = request_bare(cloud.ready.http, "POST", "/language", FORM, form.as_bytes()).await;
        assert_eq!(status, 303, "{head}");
        assert!(head.contains(&format!("location: {location}\r\n")), "{next}: {head}");
        assert_eq!(cookie(&head), "keepsake-language=ko");
        assert!(head.contains("HttpOnly; SameSite=Lax"), "{head}");
    }
    let (_, head, _) = request_bare(cloud.ready.http, "POST", "/language", FORM, b"next=/&language=%0d%0a").await;
    assert!(!head.contains("set-cookie"), "{head}");

    // After a form was refused, the page of the form is shown again.
    let referer = format!("{FORM}referer: http://{}/login?next=/\r\n", cloud.ready.http);
    let (status, _, html) = request_bare(cloud.ready.http, "POST", "/login", &referer, b"name=x&password=y").await;
    assert_eq!(status, 401);
    assert!(String::from_utf8(html).unwrap().contains("value=\"/login?next=/\""));
    cloud.stop().await;
}
