#!/usr/bin/env perl

# The command-line client: if this fails, somebody who looks for what does not
# arrive is not shown it, a script takes a failure for a success, or what others
# publish does something to a terminal.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Encode qw( decode );
use POSIX ();

use Fanout::JSON;
use Fanout::Nginx;


my $root    = "$FindBin::Bin/..";
my $modules = $ENV{TEST_WS_MODULES} || "$root/build/ws/node_modules";
my $client  = "$root/src/client/bin";
my $bin     = "$client/fanout.js";

-d "$modules/ws" or die "no $modules/ws: t/tools/deps page\n";

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        log_format agents '$http_user_agent|$http_x_more';
        map $http_x_user $who { default $http_x_user; '' $arg_user; }
        fanout_zone app 32m;
        fanout_channel app short:* history=3 ttl=1h;
        fanout_channel app *       history=500 ttl=1h presence=on;
        fanout_rate off;
        fanout_budget off;
        fanout_user $who;
END
    server => <<'END',
        access_log agents.log agents;
        location /rt     { fanout app; fanout_permit all room:* short:*; }
        location /fanout { fanout_api app public; }
END
);

my $n = 0;

$ENV{FANOUT_URL} = $nginx->uri('/rt?user=ann');
$ENV{NODE_PATH}  = $modules;
delete @ENV{qw( NO_COLOR FANOUT_TOKEN )};


# a command that runs; its output is what it has written until now

sub spawn {
    my ($command, %o) = @_;

    my $at  = $nginx->dir . '/cli' . ++$n;
    my $pid = fork // die "fork: $!";

    if (!$pid) {
        Fanout::Nginx::die_with_parent();
        open STDIN, '<', $o{in} // '/dev/null' or die;
        open STDOUT, '>', "$at.out" or die;
        open STDERR, '>', "$at.err" or die;
        exec @$command or POSIX::_exit(127);
    }

    return { pid => $pid, at => $at };
}


sub out { Fanout::Nginx::slurp("$_[0]{at}.out") }
sub err { Fanout::Nginx::slurp("$_[0]{at}.err") }


sub ended {
    my ($run) = @_;

    waitpid $run->{pid}, 0;
    $run->{rc} = $? & 127 ? "signal $?" : $? >> 8;

    return $run;
}


sub lines {
    my ($run) = @_;

    return map { Fanout::JSON::decode($_) } out($run) =~ /.*\n/g;
}


sub started { spawn([ 'node', $bin, @_ ]) }
sub fanout  { ended(started(@_)) }
sub kept    { lines(fanout('tail', '--no-follow', @_)) }


sub publish {
    my ($channel, $json, $args) = @_;

    return $nginx->http->post("/fanout/channels/$channel/messages?"
                              . ($args // ''), $json)->{status};
}


subtest 'the command line' => sub {
    my $page = Fanout::Nginx::slurp("$root/docs/cli.md");
    my ($common) = Fanout::Nginx::slurp("$client/options.js")
        =~ /^const COMMON = \{(.*?)^\};/ms;

    for my $command (qw( sub tail pub presence bench )) {
        my $help  = fanout($command, '--help');
        my ($own) = Fanout::Nginx::slurp("$client/$command.js")
            =~ /^export const options = \{(.*?)^\};/ms;

        is($help->{rc}, 0, "$command --help");

        for my $name ("$own$common" =~ /^    "([\w-]+)": /mg) {
            like(out($help), qr/--\Q$name\E\b/, "$command: has --$name");
            like($page, qr/`--\Q$name\E\b/, 'so has docs/cli.md');
        }

        my $r = fanout($command, '--bogus', 'room:a');

        is($r->{rc}, 2, "$command: an unknown option is an error");
        is(out($r), '', 'nothing else is printed');
        like(err($r), qr/'--bogus'.*"fanout $command --help" has the options/s,
             'but where the options are');
    }

    my @wrong = (
        [ qr/no command "bogus"/    => 'bogus' ],
        [ qr/no command/            => ],
        [ qr/no channel/            => 'sub' ],
        [ qr/--count is no number/  => 'sub', '-n', 'x', 'room:a' ],
        [ qr/no URL/                => 'sub', '-u', 'x', 'room:a' ],
        [ qr/another scheme/        => 'sub', '-u', 'ftp://x/', 'room:a' ],
        [ qr/a user or a password/  => 'sub', '-u', 'http://a:b@x/', 'room:a' ],
        [ qr/no header/             => 'sub', '-H', 'x', 'room:a' ],
        [ qr/--format is one of/    => 'sub', '-f', 'xml', 'room:a' ],
        [ qr/--transport is one of/ => 'sub', '--transport', 'x', 'room:a' ],
        [ qr/no time or position/   => 'tail', '--since', '10x', 'room:a' ],
        [ qr/--lines or --since/    => 'tail', '-n1', '--since', '1m', 'room:a' ],
        [ qr/--to-user or/          => 'pub', '--to-user', 'a', '--to-client',
                                       'b', 'room:a' ],
        [ qr/no JSON/               => 'pub', '--as', 'json', 'room:a', '{' ],
        [ qr/more than one channel/ => 'bench', 'room:a', 'room:b' ],
        [ qr/-1'.*stands behind "--"/ => 'pub', 'room:a', '-1' ],
        [ qr/--token-file: ENOENT/  => 'sub', '--token-file', '/none', 'room:a' ],
        [ qr/the token is empty/    => 'sub', '-t', "a\e[31m", 'room:a' ],
    );

    for (@wrong) {
        my ($why, @args) = @$_;
        my $r = fanout(@args);

        is($r->{rc}, 2, "fanout @args");
        like(err($r), $why, 'says why');
        unlike(err($r), qr/^ +at /m, 'without a stack');
    }

    for ([ '/nowhere', qr/the server answered 404/ ],
         [ ':' . Fanout::Nginx::free_port() . '/', qr/network: ECONNREFUSED/ ])
    {
        my ($to, $why) = @$_;
        my $url = $to =~ /^:/ ? "http://127.0.0.1$to" : $nginx->uri($to);
        my $r   = fanout('sub', '--timeout', 2, '--transport', 'sse', '-u', $url,
                         'room:a');

        is($r->{rc}, 1, "nobody is at $to");
        like(err($r), $why, 'says why');
    }

    delete local $ENV{FANOUT_URL};
    like(err(fanout('sub', 'room:a')), qr/no --url/, 'there is no URL');
};


for my $way (qw( websocket sse poll )) {
    subtest "by $way" => sub {
        my @by   = ('--transport', $way);
        my $name = "room:$way";
        my $sent = fanout('pub', @by, $name, '{"a":1}', 'b');

        is($sent->{rc}, 0, 'pub') or diag(err($sent));
        is_deeply([ map { $_->{offset} } lines($sent) ], [ 1, 2 ], 'positions');

        my $sub = started('sub', @by, '--history', 1, '-n', 3, $name);

        ok(wait_for(sub { lines($sub) == 1 }), 'sub begins with the history');

        for my $data (qw( c d )) {
            is(publish($name, "\"$data\"", 'event=say&user=bob'), 201,
               'published');
        }

        is(ended($sub)->{rc}, 0, 'and ends') or diag(err($sub));

        my @got = lines($sub);

        is_deeply([ map { $_->{data} } @got ], [qw( b c d )], 'has all');
        is_deeply([ @{ $got[1] }{qw( channel offset event from )} ],
                  [ $name, 3, 'say', { user => 'bob' } ], 'and their members');
        is_deeply([ map { $_->{data} }
                    kept(@by, '--since', "$got[0]{epoch}:2", $name) ],
                  [qw( c d )], 'tail');

        my $bench = fanout('bench', @by, qw( -c2 -r20 -d1 room:bench ));
        my ($r) = lines($bench);

        is($bench->{rc}, 0, 'bench') or diag(err($bench));
        is_deeply([ @$r{qw( transport sent received missing doubled )} ],
                  [ $way, 20, 40, 0, 0 ], 'counts');
        cmp_ok($r->{deliver_ms}{p50}, '>', 0, 'and measures');
    };
}


subtest 'without the package ws' => sub {
    my $has = `node -p 'typeof WebSocket'` =~ /function/;

    local $ENV{NODE_PATH};

    is(fanout('pub', 'room:plain', 'x')->{rc}, 0, 'it works');

    my ($r) = lines(fanout(qw( bench -c1 -r10 -d1 room:plain )));

    is($r->{transport}, $has ? 'websocket' : 'sse', 'by what this Node has');
};


subtest 'tail' => sub {
    publish('room:tail', qq("$_"), $_ % 2 ? 'event=odd' : '') for 1 .. 250;

    my $data = sub { join ' ', map { $_->{data} } kept(@_) };

    is($data->('room:tail'), join(' ', 241 .. 250), 'ten lines');
    is($data->('-n0', 'room:tail'), '', 'none');
    is($data->('-n120', 'room:tail'), join(' ', 131 .. 250),
       'more than a page');
    is($data->('--since', $_, 'room:tail'), join(' ', 1 .. 250), "since $_")
        for 'start', '1h', '2020-01-01';
    is($data->('--since', '2100-01-01', 'room:tail'), '', 'none since then');
    is($data->('-e', 'odd', '-n4', 'room:tail'), '247 249', 'of an event');

    my $tail = started('tail', '--since', 'start', 'room:tail');

    ok(wait_for(sub { lines($tail) == 250 }), 'follows');
    publish('room:tail', '251');
    ok(wait_for(sub { lines($tail) == 251 }), 'what comes');
    $nginx->kill_worker($_) for $nginx->worker_pids;
    ok(wait_for(sub { publish('room:tail', '252') == 201 }), 'workers die');
    ok(wait_for(sub { (lines($tail))[-1]{data} == 252 }), 'and it goes on');
    like(err($tail), qr/^fanout: reconnecting.*^fanout: connected$/ms,
         'says so');
    is(join(' ', map { $_->{offset} } lines($tail)), join(' ', 1 .. 252),
       'each once');
    kill 'INT', $tail->{pid};
    is(ended($tail)->{rc}, 130, 'interrupted');
    unlike(err($tail), qr/^ +at |Error/m, 'without a stack');

    publish('short:a', $_) for 1 .. 9;

    my ($m)  = kept('-n1', 'short:a');
    my @late = kept('--since', "$m->{epoch}:2", 'short:a');

    is_deeply([ map { $_->{lost}{reason} // $_->{data} } @late ],
              [ 'unrecovered', 7, 8, 9 ], 'what is gone is told');
};


subtest 'pub' => sub {
    my $in = $nginx->dir . '/lines';

    open my $f, '>', $in or die;
    print $f map { "$_\n" } 1 .. 400;
    close $f;

    my $r = ended(spawn([ 'node', $bin, 'pub', 'room:pub' ], in => $in));

    is($r->{rc}, 0, 'the standard input') or diag(err($r));
    is(join(' ', map { $_->{offset} } lines($r)), join(' ', 1 .. 400), 'all');
    is(join(' ', map { $_->{data} } kept('--since', 'start', 'room:pub')),
       join(' ', 1 .. 400), 'in order');

    fanout(qw( pub -k one -e e --as text room:key ), '{}') for 1, 2;

    my @kept = kept('room:key');

    is(scalar @kept, 1, 'a key is published once');
    is_deeply([ @{ $kept[0] }{qw( data event )} ], [ '{}', 'e' ], 'as a text');

    is(fanout('pub', '--no-store', 'room:key', 'x')->{rc}, 0, 'not stored');
    is(scalar(kept('room:key')), 1, 'is not kept');

    my $bob = $nginx->native(path => '/rt?user=bob');

    $bob->ok('join', channel => 'room:direct');
    is(fanout('pub', '--to-user', 'bob', 'room:direct', 'psst')->{rc}, 0,
       'to a user');
    is(($bob->next_push || {})->{data}, 'psst', 'arrives');
};


subtest 'presence' => sub {
    my $bob = $nginx->native(path => '/rt?user=bob');

    $bob->ok('join', channel => 'room:who', presence => { color => 'red' });

    my ($m) = lines(fanout('presence', 'room:who'));

    is_deeply([ @{ $m->{member} }{qw( user data )} ],
              [ 'bob', { color => 'red' } ], 'who is there');

    my $watch = started('presence', '-w', 'room:who');

    ok(wait_for(sub { lines($watch) == 1 }), 'is watched');

    my $cat = $nginx->native(path => '/rt?user=cat');

    $cat->ok('join', channel => 'room:who', presence => {});
    ok(wait_for(sub { lines($watch) == 2 }), 'a join');
    $cat->close(1000);
    ok(wait_for(sub { lines($watch) == 3 }), 'and a leave');

    my @told = map {
        my ($what) = grep { $_ ne 'channel' } keys %$_;
        "$what $_->{$what}{user}";
    } lines($watch);

    is_deeply(\@told, [ 'member bob', 'join cat', 'leave cat' ], 'are told');
    kill 'TERM', $watch->{pid};
    is(ended($watch)->{rc}, 143, 'terminated');
};


subtest 'headers' => sub {
    my $log = $nginx->dir . '/agents.log';

    for my $way (qw( websocket sse )) {
        my $r = fanout('pub', '--transport', $way, '-H', 'X-User: eve',
                       '-H', "X-More: $way", '-A', 'probe/1', 'room:head', '1');

        is($r->{rc}, 0, $way) or diag(err($r));
        ok(wait_for(sub {
            Fanout::Nginx::slurp($log) =~ /^probe\/1\|$way$/m;
        }), 'are sent');
    }

    is(join(' ', map { $_->{from}{user} } kept('room:head')), 'eve eve',
       'and looked at');
    like(Fanout::Nginx::slurp($log), qr{^fanout/\d+\.\d+\.\d+\|}m,
         'it says what it is');
};


# what is dangerous on a terminal: C0, DEL, C1, and what turns the direction

subtest 'control characters' => sub {
    my $evil  = "\\u001b[31m\\u0007\\u009b\\u007f\\u202e\\u2066\\u200f\\u2028";
    my $meant = Fanout::JSON::decode("[\"$evil\"]")->[0];
    my $raw   = $meant =~ s/([\x00-\x1f])/sprintf '\\u%04x', ord $1/ger;

    utf8::encode($raw);

    is(publish('room:evil', "{\"t\":\"$evil\"}", 'user=%E2%80%AEz'), 201,
       'are published');
    is(publish('room:evil', "\"$raw\"", 'event=%E2%80%AEz'), 201,
       'also as they are');

    my $json  = fanout('tail', '--no-follow', 'room:evil');
    my ($one, $two) = lines($json);

    is($one->{data}{t}, $meant, 'as JSON they are the same text');
    is($two->{data}, $meant, 'both times');

    my $tty = sub {
        return ended(spawn([ 'script', '-qec',
            "node $bin tail --no-follow room:evil", '/dev/null' ]));
    };
    my $colored = $tty->();

    local $ENV{NO_COLOR} = 1;

    my $plain = $tty->();

    like(out($colored), qr/^\e\[2m\d\d:\d\d:\d\d\e\[0m room:evil #1 /m,
         'a terminal has lines for people, and colors');
    like(out($plain), qr/^\d\d:\d\d:\d\d room:evil #1 /m, 'not with NO_COLOR');

    for my $r ($json, $plain) {
        my $said = decode('UTF-8', out($r)) =~ s/\r?\n//gr;

        unlike($said, qr/[\p{Cc}\p{Cf}\x{2028}]/, 'none is printed raw');
        like($said, qr/\\u202e/, 'but what it is');
    }

    my $refused = fanout('sub', "room:\x1b[31m");

    is($refused->{rc}, 1, 'refused');
    like(err($refused), qr/\\u001b/, 'also in a complaint');
    unlike(err($refused), qr/\e/, 'and not raw');
};


subtest 'failures' => sub {
    my $r = fanout('sub', 'secret:a');

    is($r->{rc}, 1, 'a channel that is not permitted');
    like(err($r), qr/^fanout: secret:a: forbidden: /m, 'says why');

    $r = fanout('pub', 'secret:a', 'x');
    is($r->{rc}, 1, 'nor to publish');
    like(err($r), qr/not sent to secret:a: forbidden/, 'says why');
    is(out($r), '', 'nothing is said to be sent');

    my $port = Fanout::Nginx::free_port();

    $r = fanout('sub', '-u', "http://127.0.0.1:$port/x?token=abc", '--timeout',
                '0.5', 'room:a');
    is($r->{rc}, 1, 'no server');
    like(err($r), qr{no connection to http://127.0.0.1:$port/x}, 'says where');
    unlike(err($r), qr/abc/, 'without what may be secret');

    my $head = ended(spawn([ 'bash', '-c', 'set -o pipefail;'
        . " node $bin tail --no-follow --since start room:tail | sed 1q" ]));

    is($head->{rc}, 0, 'a reader that has enough is no failure');
    is(scalar(lines($head)), 1, 'and has its line');
    is(err($head), '', 'nothing is said of it');
};


# docs/cli.md: its examples print what it says

subtest 'docs/cli.md' => sub {
    my $text = Fanout::Nginx::slurp("$root/docs/cli.md");
    my ($conf) = $text =~ /^```nginx http\n(.*?)^```/ms;
    my $there = Fanout::Nginx->start(
        http   => $conf =~ s/^server \{.*//msr,
        server => ($conf =~ /(^    location .*)^\}/ms)[0]);
    my $here  = '127.0.0.1:' . $there->port;
    my $count = 0;

    local $ENV{FANOUT_URL} = $there->uri('/realtime?user=ann');

    while ($text =~ /^```sh cli\n(.*?)^```\n+```text\n(.*?)^```/gms) {
        my ($code, $want) = ($1, $2);
        my $line = 1 + (substr($text, 0, $-[0]) =~ tr/\n//);

        $code =~ s/127\.0\.0\.1:8080/$here/g;
        $code = "fanout() { node $bin \"\$@\"; }\n$code";
        $want = join '[^,}\n]*?', map { quotemeta } split /\xe2\x80\xa6/, $want;

        my $run = ended(spawn([ 'bash', '-c', $code ]));

        like(out($run), qr/\A$want\z/, "line $line") or diag(err($run));
        $count++;
    }

    is($count, 4, 'examples');
};
