//! Tokens exchanged with `@eyevinn/cat`, both ways.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use tokens::{Claims, Component, Keyset, Match, Reject, Renewal, RenewalKind, Request, SigningKey};

use crate::{NOW, request};

/// Runs a script with `CAT` and the secret `key` in scope; `None` where Node or the package is missing.
fn node(body: &str) -> Option<String> {
    let modules = std::env::var("SEGUE_NODE_MODULES")
        .or_else(|_| std::env::var("NODE_PATH"))
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../node_modules").to_owned());
    let script = format!(
        "let CAT; try {{ ({{ CAT }} = require('@eyevinn/cat')); }} catch {{ process.exit(77); }}
        const key = Buffer.alloc(32, 9);
        (async () => {{ {body} }})().catch(e => {{ console.error(e); process.exit(1); }});"
    );
    let child = Command::new("node")
        .arg("-")
        .env("NODE_PATH", &modules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        return skip("`node` is not installed");
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.code() == Some(77) {
        return skip(&format!(
            "no @eyevinn/cat in {modules}; set SEGUE_NODE_MODULES or NODE_PATH"
        ));
    }
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

fn skip(why: &str) -> Option<String> {
    assert!(std::env::var_os("SEGUE_REQUIRE_TOOLS").is_none(), "{why}");
    eprintln!("skipped: {why}");
    None
}

fn shared() -> (SigningKey, Keyset) {
    let key = SigningKey::from_secret("shared", &[9; 32]).unwrap();
    let keyset = Keyset::new([key.public()]).unwrap().audience("edge");
    (key, keyset)
}

#[test]
fn we_accept_theirs() {
    let Some(token) = node(&format!(
        "const cat = new CAT({{ keys: {{ shared: key }}, expectCwtTag: true }});
        console.log(await cat.generateFromJson({{
            iss: 'segue', sub: 'anna', aud: ['edge', 'other'], exp: {exp}, nbf: {nbf}, iat: {nbf}, cti: '0b71',
            catm: ['GET'], catgeoiso3166: ['SE', 'NO'], catnip: ['192.0.2.0/24', '2001:db8::1', 64512],
            catu: {{ scheme: {{ 'exact-match': 'https' }}, path: {{ 'prefix-match': '/media/t1/' }},
                    extension: {{ 'regex-match': ['^\\\\.mp4$'] }} }},
            catr: {{ type: 'header', 'header-name': 'cta-common-access-token', expadd: 120, deadline: 60 }},
        }}, {{ type: 'mac', alg: 'HS256', kid: 'shared' }}));",
        exp = NOW + 60,
        nbf = NOW - 60,
    )) else {
        return;
    };
    let (_, keyset) = shared();
    let ok = Request {
        client_country: "NO".parse().ok(),
        ..request("/media/t1/r/opus-96.mp4")
    };
    let verified = tokens::verify(&keyset, &token, &ok).unwrap();
    assert_eq!(verified.claims().sub.as_deref(), Some("anna"));
    assert_eq!(verified.claims().cti.as_deref(), Some(&[0x0b, 0x71][..]));
    let renewal = Renewal {
        deadline_s: Some(60),
        header_name: Some("cta-common-access-token".into()),
        ..Renewal::new(RenewalKind::Header, 120)
    };
    assert_eq!(verified.claims().catr, Some(renewal));
    let refused = |request: Request<'_>| verified.check(&request).unwrap_err();
    assert_eq!(
        refused(Request {
            path: "/media/t10/r/opus-96.mp4",
            ..ok
        }),
        Reject::Uri(Component::Path)
    );
    assert_eq!(
        refused(Request {
            path: "/media/t1/r/opus-96.m4s",
            ..ok
        }),
        Reject::Uri(Component::Extension)
    );
    assert_eq!(
        refused(Request {
            method: "PUT",
            ..ok
        }),
        Reject::Method
    );
    assert_eq!(
        refused(Request {
            now_unix_s: NOW + 60,
            ..ok
        }),
        Reject::Expired
    );
    assert_eq!(
        refused(Request {
            client_ip: [198, 51, 100, 1].into(),
            ..ok
        }),
        Reject::ClientAddress
    );
    assert_eq!(
        refused(Request {
            client_country: None,
            ..ok
        }),
        Reject::Country
    );
}

#[test]
fn they_accept_ours() {
    let (key, _) = shared();
    let day = std::time::Duration::from_secs(86_400);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = Claims::listening("anna", now, day)
        .issuer("segue")
        .audience("edge")
        .id([0x0b, 0x71])
        .rule(Component::Host, Match::Exact("music.example".into()))
        .renewal(Renewal::new(RenewalKind::Automatic, 120));
    let ours = tokens::mint(&key, &claims).unwrap();
    let stale = tokens::mint(
        &key,
        &Claims {
            exp: Some(now - 10),
            ..claims.clone()
        },
    )
    .unwrap();
    let Some(seen) = node(&format!(
        "const cat = new CAT({{ keys: {{ shared: key }}, expectCwtTag: true }});
        const check = async (token, url) => {{
            const r = await cat.validate(token, 'mac', {{ issuer: 'segue', audience: ['edge'], url: new URL(url) }});
            return r.error ? r.error.constructor.name : r.cat.claims.sub + ' ' + r.cat.claims.cti;
        }};
        console.log(await check('{ours}', 'https://music.example/media/t1/x'));
        console.log(await check('{ours}', 'https://music.example/other/t1/x'));
        console.log(await check('{ours}', 'https://else.example/media/t1/x'));
        console.log(await check('{stale}', 'https://music.example/media/t1/x'));
        const forged = '{ours}'.slice(0, -4) + 'AAAA';
        console.log(await check(forged, 'https://music.example/media/t1/x').catch(e => e.constructor.name));",
    )) else {
        return;
    };
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(
        lines,
        [
            "anna 0b71",
            "UriNotAllowedError",
            "UriNotAllowedError",
            "TokenExpiredError",
            "KeyNotFoundError"
        ]
    );
}
