#!/usr/bin/perl

# What README.md, docs/ and t/README.md say is tried: configurations are given
# to NGINX, commands and frames to a running one, directives are compared with
# the source, the sizes of things with the status. If this fails, somebody who
# follows the documentation does not get what it promises.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( basename dirname );
use File::Path qw( make_path );
use File::Temp qw( tempdir );

use IO::Socket::INET;
use POSIX ();

use Fanout::Certs;
use Fanout::HookBackend;
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Rest;

my $root  = abs_path(dirname(__FILE__) . '/..');
my @files = ("$root/README.md", "$root/t/README.md", glob "$root/docs/*.md");

my %text = map { $_ => slurp($_) } @files;


sub slurp {
    my ($path) = @_;

    open my $f, '<', $path or die "$path: $!";
    local $/;

    return readline $f;
}


# fenced blocks as {info, body, line}

sub blocks {
    my ($file) = @_;

    my @blocks;

    while ($text{$file} =~ /^```([^\n]*)\n(.*?)^```$/gms) {
        my ($info, $body) = ($1, $2);
        my $line = 1 + (substr($text{$file}, 0, $-[0]) =~ tr/\n//);

        push @blocks, { info => $info, body => $body,
                        where => basename($file) . ":$line" };
    }

    return @blocks;
}


# "…" in a string stands for anything, a time for any other time, the version of a
# record for any other: what it begins with depends on what others have deleted;
# the token of a lock has the time in it

sub same {
    my ($want, $got, $at) = @_;

    if (ref $want eq 'HASH') {
        return "$at is no object" if ref $got ne 'HASH';

        for my $key (sort keys %$want, keys %$got) {
            return "$at.$key is missing"  if !exists $got->{$key};
            return "$at.$key is not said" if !exists $want->{$key};

            my $why = same($want->{$key}, $got->{$key}, "$at.$key");
            return $why if $why;
        }

        return '';
    }

    if (ref $want eq 'ARRAY') {
        return "$at is no array" if ref $got ne 'ARRAY';
        return "$at has " . @$got . " elements" if @$want != @$got;

        for my $i (0 .. $#$want) {
            my $why = same($want->[$i], $got->[$i], "$at\[$i\]");
            return $why if $why;
        }

        return '';
    }

    return "$at is a " . ref $got if ref $got && !is_boolean($got);
    return defined $got ? "$at is \"$got\"" : '' if !defined $want;
    return "$at is null" if !defined $got;
    return '' if $want =~ /\x{2026}/;
    return '' if $want =~ /^17636832/ && $got =~ /^\d{13}$/;
    return '' if $at =~ /\.token$/ && "$want $got" =~ /^18\d{14} 1\d{15}$/;
    return '' if $at =~ /\.versions?\b/ && "$want $got" =~ /^[1-9]\d* [1-9]\d*$/;

    return $want eq $got ? '' : "$at is \"$got\"";
}


sub is_boolean { ref($_[0]) =~ /Boolean/ }


# configurations

my $dir  = tempdir(CLEANUP => 1);
my $port = free_port();
make_path("$dir/temp", "$dir/html");

my $certs = Fanout::Certs->make($dir);

my %wrap = (
    complete => '%s',
    http     => "events { }\nhttp {\n%s\n}\n",
    server   => "events { }\nhttp {\nfanout_zone app 8m;\n"
                . "server {\nlisten 127.0.0.1:8080;\n%s\n}\n}\n",
);

my $configurations = 0;

for my $block (map { blocks($_) } @files) {

    next if $block->{info} !~ /^nginx/;

    my ($kind) = $block->{info} =~ /^nginx (complete|http|server)$/;

    if (!$kind) {
        fail("$block->{where}: an nginx block says how complete it is");
        next;
    }

    my $conf = sprintf $wrap{$kind}, $block->{body};

    $conf = "load_module x;\n$conf" if $kind ne 'complete';
    $conf = $certs->placed(runnable($conf));
    $conf =~ s/%%DIR%%/$dir/g;
    $conf =~ s/%%PORT%%/$port/g;

    open my $f, '>', "$dir/nginx.conf" or die $!;
    print $f $conf;
    close $f;

    my $nginx = Fanout::Nginx::binary();
    my $said  = `$nginx -t -p $dir -c $dir/nginx.conf -e $dir/error.log 2>&1`;

    ok($said =~ /test is successful/, "$block->{where}: NGINX takes it")
        or diag($said);

    $configurations++;
}

ok($configurations >= 5, "there were configurations: $configurations");


# commands and frames

my $nginx = Fanout::Nginx->start(conf => quickstart());
my $here  = '127.0.0.1:' . $nginx->port;


# a command for another server than that of the quickstart, if there is one

sub to {
    my ($server, $command) = @_;

    my $at = $server ? '127.0.0.1:' . $server->port : $here;

    return $command =~ s/127\.0\.0\.1:8080/$at/gr;
}


# a block is one script; what its last curl answers, and with which status

sub script {
    my ($command, $server) = @_;

    $command = to($server, $command);

    my $path = "$dir/script";
    my $curl = 'curl() { command curl -sS -w \'\n%{http_code}\n\' "$@"; }';

    # within $(...) it answers as ever

    $command =~ s/\$\(curl /\$(command curl /g;

    open my $f, '>', $path or die $!;
    print $f "set -e\n$curl\n$command";
    close $f;

    my $out = `bash $path 2>&1`;

    return ("exit $?", $out) if $?;

    my @all = $out =~ /^(\d{3})$/mg;

    pop @all;
    return ((grep { !/^2/ } @all)[0], $out) if grep { !/^2/ } @all;

    my ($body, $status) = $out =~ /([^\n]*)\n*\n(\d{3})\n\z/;

    return ($status // 'none', $body // $out);
}


sub shell {
    my ($command, $server) = @_;

    $command = to($server, $command);

    my @answers;

    # one command may go over several lines

    for my $one (split /^(?=curl )/m, $command) {
        next if $one !~ /\S/;

        $one =~ s/^curl /curl -sS -w '\\n%{http_code}' /;

        my $out = `$one`;
        return (1, @answers) if $?;

        my ($body, $status) = $out =~ /^(.*)\n(\d+)$/s;
        return ($status, $body) if !defined $status || $status !~ /^2/;

        push @answers, $body;
    }

    return (0, @answers);
}


sub run_shell {
    my ($block, $next, $server) = @_;

    my ($status, @answers) = script($block->{body}, $server);
    my ($want) = $block->{info} =~ /(\d+)$/;

    like($status, $want ? qr/^$want$/ : qr/^2\d\d$/,
         "$block->{where}: works") or diag("$status: @answers");

    return if !$next || $next->{info} ne 'json';

    is(same(Fanout::JSON::decode($next->{body}),
            Fanout::JSON::decode($answers[-1]), 'answer'),
       '', "$next->{where}: is the answer") or diag($answers[-1]);
}


sub run_frames {
    my ($block, $server) = @_;

    my $client = ($server || $nginx)->ws(path => '/realtime?user=ann',
                            subprotocols => ['fanout.v1']);
    my $above = 0;                      # versions are above those written

    for my $line (split /\n/, $block->{body}) {

        if ($line =~ s/^→ //) {
            $line =~ s/"base":([1-9]\d*)/'"base":' . ($1 + $above)/ge;
            $client->send_text($line);

        } elsif ($line =~ s/^\$ //) {
            my ($failed, @answers) = shell($line, $server);

            ok(!$failed, "$block->{where}: $line") or diag(@answers);

        } elsif ($line =~ s/^← //) {
            my $got  = $client->recv_text;
            my $what = substr $line, 0, 40;

            if (!defined $got) {
                fail("$block->{where}: $what: nothing came");
                last;
            }

            my ($written, $has) = map { /"version":(\d+)/ } $line, $got;

            $above = $has - $written if $written && $has;

            is(same(Fanout::JSON::decode($line), Fanout::JSON::decode($got),
                    'frame'), '', "$block->{where}: $what") or diag($got);

        } else {
            fail("$block->{where}: \"$line\" is neither sent nor received");
        }
    }
}


my ($commands, $frames) = (0, 0);

for my $file (@files) {
    my @blocks = blocks($file);

    for my $i (0 .. $#blocks) {

        if ($blocks[$i]{info} =~ /^sh run(?: \d+)?$/) {
            run_shell($blocks[$i], $blocks[$i + 1]);
            $commands++;

        } elsif ($blocks[$i]{info} eq 'native') {
            run_frames($blocks[$i]);
            $frames++;
        }
    }
}

ok($commands > 5, "there were commands: $commands");
ok($frames > 3, "there were frames: $frames");


# hooks.md: its configuration with its backend, and with one that remembers

sub hooked {
    my ($port) = @_;

    my ($block) = grep { $_->{info} eq 'nginx complete' }
                  blocks("$root/docs/hooks.md");

    my $conf = runnable($block->{body});

    $conf =~ s/127\.0\.0\.1:3000/127.0.0.1:$port/ or die 'no backend';

    return Fanout::Nginx->start(conf => $conf, workers => 1);
}


sub start_backend {
    my ($code) = @_;

    my $backend = free_port();

    $code =~ s/listen\(3000/listen($backend/ or die 'no port';

    open my $f, '>', "$dir/backend.js" or die $!;
    print $f $code;
    close $f;

    my $pid = fork;
    die "fork: $!" if !defined $pid;

    if (!$pid) {
        Fanout::Nginx::die_with_parent();
        open STDOUT, '>', "$dir/backend.log";
        exec 'node', "$dir/backend.js" or POSIX::_exit(127);
    }

    Fanout::Nginx::wait_for(sub {
        IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $backend)
    }, 30) or die "the backend of hooks.md does not start\n";

    return ($pid, $backend);
}


# api.md: the locations and requests of another style

subtest 'style=sync' => sub {
    my @blocks = blocks("$root/docs/api.md");
    my ($conf) = grep { $_->{info} eq 'nginx server' && $_->{body} =~ /style=/ } @blocks;

    my $nginx = Fanout::Nginx->start(
        http   => 'fanout_zone app 8m; fanout_channel app * history=9 records=on;',
        server => $conf->{body});

    for my $i (grep { $blocks[$_]{info} =~ /^sh sync/ } 0 .. $#blocks) {
        run_shell(@blocks[$i, $i + 1], $nginx);
    }
};


# broadcast.md: records before the server that it names

subtest 'broadcast.md' => sub {
    my %block = map { $_->{info} => $_ } blocks("$root/docs/broadcast.md");

    my $rest = Fanout::Rest->start({ tasks => [ map { { id => $_ } } 1 .. 3 ] });
    my $port = $rest->port;
    my $conf = $block{'nginx http'}{body};

    $conf =~ s/127\.0\.0\.1:3000/127.0.0.1:$port/ or die 'no backend';

    my $nginx = Fanout::Nginx->start(
        conf => runnable("load_module x;\n" . sprintf $wrap{http}, $conf),
        workers => 1);

    run_frames($block{recorded}, $nginx);
};


subtest 'hooks.md' => sub {
    my %block = map { $_->{info} => $_ } blocks("$root/docs/hooks.md");

    my ($pid, $port) = start_backend($block{'js backend'}{body});

    my $nginx = hooked($port);
    run_frames($block{hooked}, $nginx);

    # what it writes, but for lines of others

    my $wrote = sub {
        my ($who) = @_;
        return join '', map { "$_\n" } grep { / $who$/ }
               split /\n/, slurp("$dir/backend.log");
    };

    my $bob = $nginx->native(path => '/realtime?user=bob');
    $bob->ok('join', channel => 'room:1');
    $bob->close;

    Fanout::Nginx::wait_for(sub { $wrote->('bob') =~ /^disconnect/m }, 30);
    is($wrote->('bob'), $block{told}{body}, 'what it was told');

    # the same again is nothing new, in another epoch it is

    my $again = $block{'json events'}{body} =~ s/"user":"ann"/"user":"eve"/gr;
    my $http  = Fanout::HTTP->new(port => $port);
    my $eve   = "connect  eve\noccupied room:1 eve\njoin room:1 eve\n";

    for my $times (1, 1, 2) {
        $again =~ s/5f0c1a2b3c4d5e6f/6f0c1a2b3c4d5e6f/g if $times == 2;
        is($http->post('/hooks/events', $again)->{status}, 204, 'taken');
        is($wrote->('eve'), $eve x $times, 'each once');
    }

    kill 'KILL', $pid;
    waitpid $pid, 0;

    my $backend = Fanout::HookBackend->start;
    my $ann = hooked($backend->port)->native(path => '/realtime?user=ann');

    $ann->ok('publish', channel => 'room:1', event => 'msg', key => 'k1',
             data => { text => 'hello' });

    my ($asked) = grep { $_->{publishes} } $backend->calls;

    is(same(Fanout::JSON::decode($block{'json asked'}{body}), $asked, 'asked'),
       '', 'what is asked');
    ok(Fanout::JSON::decode($block{'json answer'}{body}), 'an answer');
};


# directives, parameters, variables

my $module     = join '', map { slurp($_) }
                 glob("$root/src/*.c $root/src/conf/*.c");
my $directives = $text{"$root/docs/directives.md"};

my ($table) = $module =~ /^static ngx_command_t\s+commands\[\] = \{(.*?)^\};/ms;
my @there   = sort $table =~ /ngx_string\("(fanout\w*)"\)/g;
my @said    = sort $directives =~ /^## (fanout\w*)$/mg;

is("@said", "@there", 'the directives are those of the source');

my ($variables) = $module =~ /variables\[\] = \{(.*?)^\};/ms;

is(join(' ', sort $directives =~ /^- \*\*`\$(fanout_\w+)`\*\*/mg),
   join(' ', sort map { s/_\z/_NAME/r } $variables =~ /ngx_string\("(\w+)"\)/g),
   'so are the variables');

for my $name (@there) {
    my ($part) = $directives =~ /^## $name\n(.*?)(?=^## |\z)/ms;

    ok($part =~ /^\| Syntax \| `$name [^|]*(?:\\\|[^|]*)*;` \|$/m
       && $part =~ /^\| Default \| (?:`$name .*;`|–) \|$/m
       && $part =~ /^\| Context \| .+ \|$/m, "$name has all of its table");

    ok($directives =~ /\[$name\]\(#$name\)/, "$name is in the list at the top");
}

for my $name (map { /"(\w+)=", \d/g } $module) {
    like($directives, qr/\[$name=/, "the parameter $name= is there");
}

my ($later) = $module =~ /later\[\] = \{(.*?)^\};/ms;

for my $name ($later =~ /ngx_string\("(\w+)"\)/g) {
    like($directives, qr/`$name=`/, "$name= is told to be refused");
}


# the version stands in one place; the newest changes are those of it

my ($version) = map { slurp($_) =~ /^#define FANOUT_VERSION +"(.*)"/m }
                glob("$root/src/*.h $root/src/*/*.h");

like($text{"$root/docs/CHANGES.md"},
     qr/\A[^#]*# [^#]*## (?:Unreleased: )?\Q$version\E\n/,
     'CHANGES.md begins with the version of the source');


# layouts: compiled against the headers of the zone

my @layouts = grep { $_->{info} =~ /^layout / } map { blocks($_) } @files;

for my $block (@layouts) {
    my ($type) = $block->{info} =~ /(\w+)$/;

    my $c = join '', "#include <stddef.h>\n",
            map { "#include \"$_\"\n" }
                glob("$root/src/heap/*.h $root/src/zone/*.h");
    my ($bytes, $fields) = (0, 0);

    for my $line (split /\n/, $block->{body}) {
        my ($at, $size, $name) = $line =~ /^ *(\d+) +(\d+)  (\w+)/
            or die "$block->{where}: $line";

        $c .= "_Static_assert(offsetof($type, $name) == $at"
            . " && sizeof((($type *) 0)->$name) == $size, \"$name\");\n";
        $bytes += $size;
        $fields++;
    }

    # nothing is left out but what aligns the next

    $c .= "_Static_assert(sizeof($type) >= $bytes"
        . " && sizeof($type) - $bytes < 16, \"all of it\");\n";

    my $path = "$dir/$type.c";

    open my $f, '>', $path or die $!;
    print $f $c;
    close $f;

    my $said = `cc -std=gnu11 -I$root/src -c -o $dir/x.o $path 2>&1`;

    ok(!$?, "$block->{where}: $type is laid out so") or diag($said);
}

ok(@layouts >= 10, 'all shared structs are drawn: ' . @layouts);


# links

for my $file (@files) {
    my $text = $text{$file} =~ s/^```.*?^```$//gmsr;

    while ($text =~ /\]\(([^)\s]+)\)/g) {
        my $target = $1;

        next if $target =~ m{^https?://};

        my ($path, $anchor) = split /#/, $target, 2;
        my $to = length $path ? abs_path(dirname($file) . "/$path") : $file;

        if (!$to || !-e $to) {
            fail(basename($file) . ": $target is there");
            next;
        }

        next if !defined $anchor;

        my %anchors = map {
            my $a = lc; $a =~ s/[^\w\- ]//g; $a =~ s/ /-/g; $a => 1
        } $text{$to} =~ /^#+ +(.*)$/mg;

        ok($anchors{$anchor}, basename($file) . ": $target is there");
    }
}


# sizes: the formulas of operations.md

sub zone {
    my $zone = $nginx->http->get('/status')->json->{zone};

    return { %{ $zone->{used} }, block_size => $zone->{block_size} };
}


sub blocks_of_message {
    my ($size) = @_;

    $size += 42;
    $size += 4 if $size > 64 + 7 * 60;

    return $size <= 64 ? 1 : 1 + int(($size - 64 + 59) / 60);
}


my $http = $nginx->http;

is(zone()->{block_size}, 64, 'a block has 64 bytes');

# what was sent to those who are there, and not kept, goes a moment later, and
# what was sent to one client when that is kept no longer

ok(wait_for(sub {
    my $zone = $http->get('/status')->json->{zone};
    return $zone->{held} == 0 && $zone->{used}{mail} == 0;
}, 60), 'nothing is on its way');

for my $size (1, 22, 23, 82, 83, 128, 442, 443, 1000, 5000) {
    my $body   = $size == 1 ? '1' : '"' . 'x' x ($size - 2) . '"';
    my $before = zone();

    $http->post("/fanout/channels/room:size-$size/messages", $body);

    my $after = zone();

    is($after->{messages} - $before->{messages}, blocks_of_message($size),
       "a message of $size bytes takes what is said");
    is($after->{channels} - $before->{channels}, 3, 'its channel three blocks');
}

my $name   = 'room:' . 'n' x 100;
my $before = zone();

$http->post("/fanout/channels/$name/messages?event=abc&user=ann", '1',
            headers => { 'Fanout-Key' => 'key' });

my $after = zone();

is($after->{channels} - $before->{channels}, 5, 'a long name two more');
is($after->{messages} - $before->{messages}, blocks_of_message(1 + 3 + 3 + 3),
   'event, user and key count as data does');
is($after->{keys} - $before->{keys}, 1, 'a key one block');

$before = zone();

my $ann = $nginx->native(path => '/realtime?user=ann');
$ann->ok('join', channel => $name);

$after = zone();

is($after->{identities} - $before->{identities}, 1, 'a session one block');
is($after->{interests} - $before->{interests}, 1,
   'a channel with subscribers in a worker one block');

$before = zone();
$http->post("/fanout/channels/room:many/messages", $_) for 1 .. 110;
$after = zone();

is($after->{messages} - $before->{messages}, 100, 'history=100 keeps 100');
ok($after->{index} - $before->{index} <= 11 + 1, 'an index block for eleven');


# members: the subscription of each, its user, what it tells of itself

my $there = Fanout::Nginx->start(
    http   => 'fanout_zone app 4m; fanout_channel app * presence=on;',
    server => 'location /realtime { fanout app; fanout_user $arg_user;
                                    fanout_permit all *; }
               location = /status { fanout_status app; }',
);

sub grown {
    my ($make) = @_;

    my $before = $there->http->get('/status')->json->{zone}{used};
    $make->();
    my $after = $there->http->get('/status')->json->{zone}{used};

    return { map { $_ => $after->{$_} - $before->{$_} } keys %$after };
}

my (@one, $grown);

$grown = grown(sub { push @one, $there->native(path => '/realtime?user=ann') });
is($grown->{identities}, 2, 'a session and its user two blocks');

$grown = grown(sub { push @one, $there->native(path => '/realtime?user=ann') });
is($grown->{identities}, 1, 'another of that user one');

$grown = grown(sub {
    push @one, $there->native(path => '/realtime?user=' . 'u' x 40);
});
is($grown->{identities}, 3, 'a long name one more');

$grown = grown(sub { $one[0]->ok('join', channel => 'room:1') });
is($grown->{seats}, 1, 'a subscription one block');

for ([2, 1], [16, 1], [17, 2], [60, 2], [61, 3]) {
    my ($size, $blocks) = @$_;

    # with the quotes

    $grown = grown(sub {
        $one[0]->ok('presence', channel => 'room:1', data => 'x' x ($size - 2));
    });
    is($grown->{members}, $blocks, "a member with $size bytes");
    $one[0]->ok('presence', channel => 'room:1', data => undef);

    ok(wait_for(sub {
        !$there->http->get('/status')->json->{zone}{members}
    }), 'which leaves');
}

$grown = grown(sub {
    for my $i (1 .. 26) {
        $one[0]->ok('presence', channel => 'room:1', key => "k$i", data => 1);
    }
});
cmp_ok($grown->{rooms}, '<=', 3, 'slots of 26 members');


# the formula for a whole zone: C channels with M messages, S sessions that
# have joined some of them, K keys; then the size that it gives is tried

my ($C, $M, $S, $K) = (150, 30, 20, 40);
my $big = Fanout::Nginx->start(
    http   => 'fanout_zone app 16m; fanout_zone fit 2m;
               fanout_channel app * history=30; fanout_channel fit * history=30;',
    server => 'location /realtime { fanout app; fanout_permit all *; }
               location /app/ { fanout_api app; }
               location /fit/ { fanout_api fit; }
               location = /status { fanout_status app; }
               location = /status/fit { fanout_status fit; }',
);

sub fill {
    my ($zone, $channels, $messages) = @_;

    my $http = $big->http;
    my @all  = map { "room:$_" } 1 .. $channels;
    my $data = 'x' x 198;

    for (1 .. $messages) {
        my $r = $http->post("/$zone/broadcast", Fanout::JSON::encode(
                            { channels => \@all, data => $data }));

        return 0 if $r->{status} != 200 || $r->{body} =~ /"error"/;
    }

    return 1;
}

sub used {
    my $zone = $big->http->get('/status' . ($_[0] || ''))->json->{zone};
    my $sum  = 0;

    $sum += $_ for values %{ $zone->{used} };

    return ($sum, $zone);
}

my ($empty) = used();

ok(fill('app', $C, $M), "$C channels with $M messages");
$big->http->post('/app/channels/room:1/messages', '"' . 'x' x 198 . '"',
                 headers => { 'Fanout-Key' => "k$_" }) for 1 .. $K;

my @pids = $big->worker_pids;
my @in   = map { $big->native(worker => $pids[$_ % 2]) } 1 .. $S;

$_->ok('join', channel => 'room:1') for @in;

my ($sum) = used();
my $b     = blocks_of_message(200);
my $want  = $C * (3 + $M * $b + int(($M + 10) / 11) + 1) + 2 + 2 * $S + $K;

is($b, 4, '200 bytes are 4 blocks, as in the example');
cmp_ok($sum - $empty, '<=', $want, 'takes no more than the formula says');
cmp_ok($sum - $empty, '>=', $want - 2 * $C, 'and not much less') or diag($want);

# what fits into 2 MB by the formula, the third more included

my $fit = int((2 * 1024 * 1024 / (4 / 3) - 512 * 1024) * 0.98 / 64
              / (3 + $M * $b + int(($M + 10) / 11) + 1));

ok(fill('fit', $fit, $M), "$fit channels are said to fit into 2m");

my (undef, $z) = used('/fit');

is($z->{evicted}, 0, 'without eviction');
cmp_ok($z->{used}{messages}, '==', $fit * $M * $b, 'all is there');
