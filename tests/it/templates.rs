//! Custom templates of the pull request body: a template cannot exhaust the machine or end the process.

use std::time::{Duration, Instant};

use crate::support::world::{REV_B, World, world};

fn with_template(text: &str) -> World {
    let world = world();
    world.write("body.j2", text);
    let labels = "report: { labels: [dev.acme.version] }";
    world.replace("repin.yaml", labels, "report: { template: body.j2 }");
    world
}

const PROMOTE: [&str; 5] = ["promote", "--revision", REV_B, "--body-file", "-"];

#[test]
fn every_excess_of_a_template_is_refused() {
    let doubled = format!(
        "{{% set x = 'abcdefgh' %}}{}",
        "{% set x = x ~ x %}".repeat(40)
    );
    let nested = "{% set n = namespace(x=[]) %}{% for i in range(99999) %}{% set n.x = [n.x] %}{% endfor %}\
                  {{ n.x }}";
    let loops = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    let text = "{% set x = 'a' * 10 %}{% set x = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' %}";
    let replaced = format!(
        "{text}{}{{{{ x|length }}}}",
        "{% set x = x|replace('a', x) %}".repeat(8)
    );
    let joined = format!(
        "{text}{}{{{{ x|length }}}}",
        "{% set x = x|list|join(x) %}".repeat(8)
    );
    let numbers = "{% set x = range(100000)|list %}";
    let batched = format!("{numbers}{{{{ (x|batch(1000000000, x))|length }}}}");
    let sliced = format!("{numbers}{{{{ (x|slice(1000000000, x))|length }}}}");
    let indented = "{{ ('a\n' * 1)|indent(4000000000) }}";
    let formatted = "{{ '%4000000000s'|format('a') }}";
    let parsed = format!("{{{{ {}1{} }}}}", "[".repeat(100_000), "]".repeat(100_000));
    for template in [
        &*doubled, nested, loops, &replaced, &joined, &batched, &sliced, indented, formatted,
        &parsed,
    ] {
        let world = with_template(template);
        let pinned = ".github/workflows/a.yml";
        let before = world.read(pinned);
        let start = Instant::now();
        let ran = world.run(&[&PROMOTE[..], &["--apply"]].concat()).exits(2);
        let shown = &template[..template.len().min(80)];
        assert!(ran.stderr.contains("body.j2"), "{shown}: {}", ran.stderr);
        assert!(start.elapsed() < Duration::from_secs(60), "{shown}");
        assert_eq!(world.read(pinned), before, "{shown}");
    }
}

#[test]
fn ordinary_template_uses_filters_and_values() {
    let template = "{{ revision|upper }} {{ [1, 2, 3]|batch(2)|list|length }} {{ 'a-b'|replace('-', '+') }}\n\
        {% for image in images %}{{ image.name|code }} {{ image.to|shortened }}\n{% endfor %}{{ changes_section }}\n\
        {{ diff|length > 100 }} {{ undone|length }} {{ config_option }}";
    let world = with_template(template);
    let ran = world.run(&PROMOTE).exits(0);
    assert!(ran.stdout.contains(&REV_B.to_uppercase()), "{}", ran.stdout);
    assert!(ran.stdout.contains(" 2 a+b\n`review` "), "{}", ran.stdout);
    assert!(ran.stdout.contains("True 0"), "{}", ran.stdout);
    // The error of a template has its line.
    let world = with_template("one\n{{ missing }}");
    let ran = world.run(&PROMOTE).exits(2);
    assert!(
        ran.stderr.contains("body.j2:2: undefined"),
        "{}",
        ran.stderr
    );
}
