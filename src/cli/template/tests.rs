//! Templates of `--format`, with what docker prints for them.

use serde_json::{Value, json};

use super::{Purpose, Template};

fn sample() -> Value {
    json!({
        "ID": "4b825dc6",
        "Names": ["web", "api"],
        "Size": 12,
        "Running": true,
        "Labels": {"tier": "front", "app.kubernetes.io/name": "x"},
        "Empty": {},
        "Config": {"Env": ["A=1", "B=2"], "Labels": {"k": "v"}, "User": ""},
        "Ports": {"80/tcp": [{"HostPort": "8080"}]},
        "Label": {"tier": "front"},
    })
}

fn render(template: &str) -> Result<String, String> {
    let template = Template::parse(template).map_err(|error| error.to_string())?;
    template.render(&sample(), Purpose::Row).map_err(|error| error.to_string())
}

#[test]
fn renders_what_go_would() {
    for (template, output) in [
        ("plain", "plain"),
        ("{{.ID}}", "4b825dc6"),
        ("{{ .ID }}\\t{{.Size}}", "4b825dc6\t12"),
        ("{{.Names}} {{.Labels}}", "[web api] map[app.kubernetes.io/name:x tier:front]"),
        ("{{.Config.Labels.k}} {{.Config.Labels.other}} {{.Empty.x}}", "v <no value> <no value>"),
        ("{{json .Names}} {{json .Running}}", "[\"web\",\"api\"] true"),
        ("{{.ID | upper}} {{upper \"x\" | lower}}", "4B825DC6 x"),
        ("{{join .Names \", \"}}", "web, api"),
        ("{{len .Names}} {{len .ID}} {{len .Labels}}", "2 8 2"),
        ("{{index .Names 1}} {{index .Config.Env 0}}", "api A=1"),
        ("{{index .Labels \"app.kubernetes.io/name\"}}|{{index .Labels \"none\"}}|", "x||"),
        ("{{range .Names}}<{{.}}>{{end}}", "<web><api>"),
        ("{{range $i, $n := .Names}}{{$i}}={{$n}} {{end}}", "0=web 1=api "),
        ("{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}}{{end}}", "k:v"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .Names}}{{$.ID}} {{end}}", "4b825dc6 4b825dc6 "),
        ("{{if .Running}}up{{else}}down{{end}}", "up"),
        ("{{if .Config.User}}u{{else if .Running}}r{{else}}n{{end}}", "r"),
        ("{{if and .Running (eq .Size 12)}}yes{{end}}", "yes"),
        ("{{if or (not .Running) (gt .Size 100)}}yes{{else}}no{{end}}", "no"),
        ("{{with .Config}}{{.Env}}{{end}}", "[A=1 B=2]"),
        ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
        ("{{$x := .ID}}{{$x}}", "4b825dc6"),
        ("{{$x := 1}}{{$x = 2}}{{$x}}", "2"),
        ("{{.Label \"tier\"}}", "front"),
        ("{{println .ID 1}}{{print \"a\" 1}}", "4b825dc6 1\na1"),
        ("{{printf \"%s-%d%% %q\" .ID .Size \"a\"}}", "4b825dc6-12% \"a\""),
        ("a {{- \" b \" -}} c", "a b c"),
        ("{{/* nothing */}}x", "x"),
        ("{{`raw}}`}} {{\"}}\"}}", "raw}} }}"),
        ("{{truncate .ID 4}} {{title \"web\"}}", "4b82 Web"),
        ("{{slice .ID 0 4}} {{slice .ID 4 8}} {{pad \"x\" 1 2}}|", "4b82 5dc6  x  |"),
        ("{{printf \"%-4s|%4d\" \"ab\" 7}} {{html \"<a>\"}} {{urlquery \"a b&\"}}", "ab  |   7 &lt;a&gt; a+b%26"),
        ("{{split \"a,b\" \",\" | json}}", "[\"a\",\"b\"]"),
        (
            "{{eq .ID \"a\" \"4b825dc6\"}} {{ne 1 2}} {{le 2 2}} {{ge 1 2}} {{lt \"a\" \"b\"}}",
            "true true true false true",
        ),
    ] {
        assert_eq!(render(template).as_deref(), Ok(output), "{template}");
    }
}

#[test]
fn json_leaves_methods_out() {
    let all = render("{{json .}}").expect("json");
    let back: Value = serde_json::from_str(&all).expect("parses");
    assert_eq!(back.get("Label"), None);
    assert_eq!(back.get("ID"), Some(&json!("4b825dc6")));
}

#[test]
fn says_what_is_wrong() {
    for (template, error) in [
        ("{{.ID", "invalid template: {{ without }}"),
        ("{{\"x}}", "invalid template: {{ without }}"),
        ("{{}}", "invalid template: an expression is missing"),
        ("{{.ID | }}", "invalid template: an expression is missing"),
        ("{{(.ID}}", "invalid template: ( without )"),
        ("{{.ID)}}", "invalid template: unexpected )"),
        ("{{if .ID}}x", "invalid template: if without end"),
        ("{{end}}", "invalid template: end or else without if, range or with"),
        ("{{else}}", "invalid template: end or else without if, range or with"),
        ("{{$x}}", "invalid template: there is no variable $x"),
        ("{{1x}}", "invalid template: \"1x\" is no number"),
        ("{{upper}}", "invalid template: upper does not take 0 arguments"),
        ("{{index .Names 7}}", "invalid template: index 7 of 2"),
        ("{{range .Size}}{{end}}", "invalid template: range cannot go over 12"),
        ("{{.Config.Id}}", "invalid template: there is no field .Id; the fields are .Env .Labels .User"),
        ("{{.ID.x}}", "invalid template: 4b825dc6 has no field x"),
        ("{{ % }}", "invalid template: unexpected '%' in {{%}}"),
    ] {
        assert_eq!(render(template).as_ref().map_err(String::as_str), Err(error), "{template}");
    }
    assert!(
        render("{{frobnicate .ID}}").expect_err("unknown").contains("there is no function frobnicate; there are json")
    );
    let deep = format!("{}.ID{}", "{{(".to_owned() + &"(".repeat(200), ")".repeat(201) + "}}");
    assert_eq!(
        render(&deep).as_ref().map_err(String::as_str),
        Err("invalid template: parentheses stand too deep in each other")
    );
}

#[test]
fn titles_pass_through_functions() {
    let template = Template::parse("{{lower .ID}}\t{{json .Names}}\t{{.Label \"tier\"}}").expect("template");
    let titles = json!({"ID": "CONTAINER ID", "Names": "NAMES", "Label": "LABEL"});
    assert_eq!(template.render(&titles, Purpose::Header).as_deref(), Ok("CONTAINER ID\tNAMES\tLABEL"));
}

#[test]
fn any_text_is_read_without_panic() {
    use proptest::prelude::*;
    proptest!(|(text in "([{}.$|()\"`a-zé0-9 ,:=-]|\\{\\{|\\}\\}){0,40}")| {
        if let Ok(template) = Template::parse(&text) {
            let _ = template.render(&sample(), Purpose::Row);
        }
    });
}
