//! Flags, their environment variables and their values.

use clap::CommandFactory;

use super::*;

fn run(arguments: &[&str]) -> Result<RunArgs, clap::Error> {
    let arguments = ["ras-operator", "run"].iter().chain(arguments);
    match Cli::try_parse_from(arguments)?.command {
        Command::Run(args) => Ok(args),
        Command::Crds(args) => panic!("parsed as {args:?}"),
    }
}

fn refusal(arguments: &[&str]) -> String {
    run(arguments).unwrap_err().to_string()
}

fn host(name: &str, port: u16) -> BindAddress {
    BindAddress::Host { host: name.to_owned(), port }
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn without_flags_the_documented_defaults_hold() {
    let expected = RunArgs {
        watch_namespaces: Namespaces::default(),
        leader_elect: false,
        max_concurrent_reconciles: 64,
        metrics_bind_address: BindAddress::Any { port: 8080 },
        health_probe_bind_address: BindAddress::Any { port: 8081 },
        log_format: LogFormat::Text,
        allowed_farm_hosts: None,
        allow_insecure_tls: false,
        farm_unavailable_after: Duration::from_secs(300),
    };
    assert_eq!(run(&[]).unwrap(), expected);
}

#[test]
fn every_run_flag_has_its_environment_variable() {
    let command = Cli::command();
    let run = command.find_subcommand("run").unwrap();
    let flags: Vec<_> = run.get_arguments().filter_map(|flag| flag.get_long()).collect();
    assert_eq!(flags.len(), 9, "{flags:?}");
    for flag in run.get_arguments() {
        let expected = flag.get_long().unwrap().to_uppercase().replace('-', "_");
        let variable = flag.get_env().unwrap().to_str().unwrap();
        assert_eq!(variable, format!("RAS_OPERATOR_{expected}"));
    }
}

#[test]
fn a_switch_may_stand_alone_or_carry_a_value() {
    let table: [(&[&str], bool); 4] = [
        (&["--leader-elect"], true),
        (&["--leader-elect=true"], true),
        (&["--leader-elect=false"], false),
        (&["--leader-elect", "--log-format", "json"], true),
    ];
    for (arguments, expected) in table {
        assert_eq!(run(arguments).unwrap().leader_elect, expected, "{arguments:?}");
    }
    assert!(refusal(&["--allow-insecure-tls=perhaps"]).contains("--allow-insecure-tls"));
}

#[test]
fn namespaces_are_a_list_and_an_empty_one_stands_for_all() {
    let namespaces = |text| run(&["--watch-namespaces", text]).unwrap().watch_namespaces;
    assert_eq!(namespaces("a, b,,ras-1").as_slice(), ["a", "b", "ras-1"]);
    assert_eq!(namespaces("").as_slice(), [""; 0]);
    for wrong in ["A", "a.b", "-a", "a-", "a b", &"a".repeat(64)] {
        assert!(
            refusal(&[&format!("--watch-namespaces={wrong}")]).contains("is not the name of a namespace")
        );
    }
}

#[test]
fn farm_hosts_are_brought_to_the_spelling_of_urls() {
    let hosts = |text| run(&["--allowed-farm-hosts", text]).unwrap().allowed_farm_hosts.unwrap();
    let given = "Farm.Example.com,*.RAS.example.com,127.0.0.1,::1,[FD00::1],localhost";
    let expected = ["farm.example.com", "*.ras.example.com", "127.0.0.1", "[::1]", "[fd00::1]", "localhost"];
    assert_eq!(hosts(given).as_slice(), expected);
}

#[test]
fn what_is_no_farm_host_is_refused_and_named() {
    for wrong in ["https://farm", "farm:20443", "*", "*.", "a*b", "*.*.com", "*.127.0.0.1", "a..b", "a/b"] {
        assert!(refusal(&["--allowed-farm-hosts", wrong]).contains("neither a host nor *.suffix"), "{wrong}");
    }
    assert!(refusal(&["--allowed-farm-hosts", ""]).contains("leave the flag out"));
}

#[test]
fn addresses_are_read_and_shown_alike() {
    let table = [
        ("0", BindAddress::Disabled),
        (":8080", BindAddress::Any { port: 8080 }),
        (":0", BindAddress::Any { port: 0 }),
        ("127.0.0.1:80", host("127.0.0.1", 80)),
        ("localhost:80", host("localhost", 80)),
        ("[::1]:80", host("::1", 80)),
    ];
    for (text, address) in table {
        assert_eq!(text.parse(), Ok(address.clone()));
        assert_eq!(address.to_string(), text);
    }
    for wrong in ["", "8080", ":", ":x", ":65536", "::1:80", "[::1", "host", "[]:1"] {
        let refused = Err(ValueError::BindAddress(wrong.to_owned()));
        assert_eq!(wrong.parse::<BindAddress>(), refused, "{wrong}");
    }
}

#[test]
fn numbers_and_durations_out_of_range_name_their_flag() {
    for (flag, wrong) in [
        ("--max-concurrent-reconciles", "0"),
        ("--max-concurrent-reconciles", "many"),
        ("--farm-unavailable-after", "5"),
        ("--log-format", "xml"),
        ("--metrics-bind-address", "8080"),
    ] {
        assert!(refusal(&[flag, wrong]).contains(flag), "{flag} {wrong}");
    }
    let after = run(&["--farm-unavailable-after", "1h30m"]).unwrap().farm_unavailable_after;
    assert_eq!(after, Duration::from_secs(5400));
}
