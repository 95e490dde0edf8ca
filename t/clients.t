#!/usr/bin/env perl

# docs/clients.md: if this fails, a program that is no browser, written as the
# page says, does not compile, does not see who is there, misses a message, or
# does not come back as who it was when its worker has died.

use strict;
use warnings;

use File::Path qw( make_path );
use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::App;
use Fanout::Nginx;


my $root = "$FindBin::Bin/..";

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 64m;

        fanout_channel app lobby:quick  presence=on linger=1s  batch=50ms
                                        history=100 ttl=1h;
        fanout_channel app lobby*       presence=on linger=10s batch=50ms
                                        history=100 ttl=1h;
END
    server => <<'END',
        location /lobby {
            fanout          app;
            fanout_user     $arg_user;
            fanout_permit   all lobby*;
            fanout_resume   1m;
            fanout_drain    1s;
            fanout_sessions 2000;
        }

        location /fanout/  { fanout_api app; allow 127.0.0.1; deny all; }
        location = /status { fanout_status app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;
my @apps;


sub app {
    my ($user, %o) = @_;

    my $app = Fanout::App->new($nginx, path => "/lobby?user=$user", %o);

    push @apps, $app;

    return $app;
}


sub member {
    my ($at, $user, %o) = @_;

    my $app = app($user, %o);

    $app->mount($at, presence => {})
        or die "$user: ", $app->error // $app->channel_error($at);

    return $app;
}


sub shown {
    my ($app, $at) = @_;

    return join ' ', sort map { $_->{user} } values %{ $app->list($at) };
}


sub same {
    my ($apps, $at, $want, $name) = @_;

    Fanout::App::settle($apps, sub { !grep { shown($_, $at) ne $want } @$apps });
    is(join(' | ', map { shown($_, $at) } @$apps),
       join(' | ', ($want) x @$apps), $name);
}


sub heard {
    my ($app, $at, $kind) = @_;

    my @told;

    Fanout::App::settle([ $app ], sub {
        push @told, $app->told($at, $kind);
        return @told;
    });

    return @told;
}


sub faultless {
    my @faults = map { $_->faults } @apps;

    is_deeply([ splice @faults, 0, 10 ], [], 'nobody was told what can not be');
    $_->close for grep { $_->connected } splice @apps;
}


# A program of docs/clients.md joins, is told, and leaves. It is compiled and
# run as it stands there.

sub program {
    my ($language) = @_;

    my $text = Fanout::Nginx::slurp("$root/docs/clients.md");
    my ($code) = $text =~ /^```\Q$language\E\n(.*?)^```$/ms
        or die "docs/clients.md has no $language";

    return $code;
}


# What has not changed keeps its time, so that it is not compiled again.

sub stored {
    my ($path, $text) = @_;

    return $path if Fanout::Nginx::slurp($path) eq $text;

    open my $f, '>', $path or die "$path: $!";
    print $f $text;
    close $f or die "$path: $!";

    return $path;
}


# By Debian's compiler, with what Debian has packaged of crates, and in place of
# tungstenite, which it has not, t/rust/tungstenite. Answers the executable.

sub compiled {
    my $dir = "$root/build/rust";
    my $log = "$dir/log";

    make_path("$dir/src", "$dir/.cargo");

    stored("$dir/src/main.rs", program('rust'));
    stored("$dir/Cargo.toml", <<'END' . program('toml') . <<'END');
[package]
name = "lobby"
version = "0.0.0"
edition = "2021"

END

[patch.crates-io]
tungstenite = { path = "../../t/rust/tungstenite" }
END
    stored("$dir/.cargo/config.toml", <<'END');
[source.crates-io]
replace-with = "debian"

[source.debian]
directory = "/usr/share/cargo/registry"

[build]
rustflags = ["-Dwarnings", "-Cdebuginfo=0"]
END

    -x "/usr/bin/$_" or die "no /usr/bin/$_: t/tools/deps test\n"
        for qw( cargo rustc );

    my $pid = fork // die "fork: $!";

    if (!$pid) {
        delete @ENV{ grep { /^(CARGO|RUST)/ } keys %ENV };
        $ENV{CARGO_HOME} = "$dir/.cargo";
        $ENV{RUSTC} = '/usr/bin/rustc';
        open STDOUT, '>', $log or die;
        open STDERR, '>&', \*STDOUT;
        open STDIN, '<', '/dev/null';
        chdir $dir;
        exec '/usr/bin/cargo', 'build', '--offline' or POSIX::_exit(127);
    }

    waitpid $pid, 0;
    is($?, 0, 'rust: it compiles') or diag(Fanout::Nginx::slurp($log));

    return $? ? undef : "$dir/target/debug/lobby";
}


sub lines_of {
    my ($out, $want) = @_;

    my $seen;

    wait_for(sub {
        $seen = Fanout::Nginx::slurp($out);
        return $seen =~ $want;
    }, 20);

    return $seen;
}


sub runs {
    my ($name, @command) = @_;

    my $at  = 'lobby:quick';
    my $out = $nginx->dir . "/$name.out";
    my $ann = member($at, 'ann', worker => $one);

    my $pid = fork // die "fork: $!";

    if (!$pid) {
        open STDOUT, '>', $out or die;
        open STDERR, '>&', \*STDOUT;
        open STDIN, '<', '/dev/null';
        Fanout::Nginx::die_with_parent();
        exec @command, 'ws://127.0.0.1:' . $nginx->port . "/lobby?user=$name"
            or POSIX::_exit(127);
    }

    my ($joined) = heard($ann, $at, 'joined');
    same([ $ann ], $at, "ann $name", "$name: it is in the lobby")
        or diag(lines_of($out, qr/./));

    like(lines_of($out, qr/here: .*ann/), qr/here: .*ann/, 'and has the list');

    my $bob = member($at, 'bob', worker => $two);
    like(lines_of($out, qr/joined: bob/), qr/joined: bob/, 'sees a join');
    $bob->close;
    like(lines_of($out, qr/left: bob \(intentional\)/),
         qr/left: bob \(intentional\)/, 'and a leave');

    my $r = $ann->say($at, 'hello, program', to => { user => $name });
    is($r->{ok} && $r->{ok}{delivered}, 1, 'a message to it');
    like(lines_of($out, qr/ann: hello, program/), qr/ann: hello, program/,
         'arrives');

    # its worker dies, and something is said before it can know that

    $ann->told($at);
    my ($m)  = @{ $ann->users($at)->{$name} || [ {} ] };
    my $info = $http->get("/fanout/clients/$m->{client}")->json;
    kill 'STOP', $pid;
    $nginx->kill_worker($info->{worker});
    my $posted = $http->post("/fanout/channels/$at/messages?user=cat",
                             'all well?');
    is($posted->{status}, 201, 'its worker dies, something is said');
    kill 'CONT', $pid;
    ($one, $two) = $nginx->worker_pids;
    ok(wait_for(sub {
        $ann->pump;
        $ann->open if !$ann->connected;
        my $r = $http->get("/fanout/clients/$m->{client}");
        $ann->connected && $r->{status} == 200
            && $r->json->{state} eq 'live'
            && $r->json->{worker} != $info->{worker};
    }, 20), 'it comes back as who it was')
        or diag(lines_of($out, qr/./));
    like(lines_of($out, qr/cat: all well\?/), qr/cat: all well\?/,
         'and is told what it missed');

    $r = $ann->say($at, 'still there?', to => { user => $name });
    like(lines_of($out, qr/ann: still there\?/), qr/ann: still there\?/,
         'and hears again');

    my $seen = Fanout::Nginx::slurp($out);
    my @said = $seen =~ /^cat: /mg;
    is(@said, 1, 'each message once');
    my @lists = $seen =~ /^here: (.*)$/mg;
    is($lists[-1], "ann $name", 'it is in its list once');
    unlike($seen, qr/something was missed/, 'and nothing was lost');

    kill 'TERM', $pid;
    waitpid $pid, 0;
    faultless();
}


runs('python', '/usr/bin/python3',
     stored($nginx->dir . '/lobby.py', program('python')));

my $lobby = compiled();
runs('rust', $lobby) if $lobby;

done_testing();
