#!/usr/bin/env perl

# A thousand mutations of valid traffic, and what is known to break others. If
# this fails, one client with bad luck or bad intentions brings a worker down,
# or makes others lose messages.
#
# TEST_SEED and TEST_MUTATIONS change the random part.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


my $seed  = $ENV{TEST_SEED} || 20261121;
my $count = $ENV{TEST_MUTATIONS} || 1000;

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 16m;
        fanout_channel app r*5 history=5;
        fanout_channel app * history=100 ttl=1m;
END
    server => <<'END',
        large_client_header_buffers 4 8k;

        location /realtime {
            fanout app;
            fanout_user $http_x_user;
            fanout_permit all r*;
            fanout_message_size 8k;
        }
        location /raw {
            fanout app;
            fanout_dialect raw;
            fanout_permit all r*;
            fanout_message_size 8k;
        }
        location /calm  { fanout app; fanout_permit all calm; }
        location /api/  { fanout_api app; client_max_body_size 64k; }
        location = /status { fanout_status app; }
        # those who ask stay at their worker
        keepalive_requests 1000000;
        location = /sync   { return 204; }
END
);

my ($one, $two) = $nginx->worker_pids;
my @pids = ($one, $two);


# those who must not notice: a subscriber on each worker

my %calm = map { $_ => $nginx->native(worker => $_, path => '/calm') } @pids;
my %sync = map { $_ => $nginx->http(worker => $_) } @pids;
my $http = $nginx->http;
my $tick = 0;

$calm{$_}->ok('join', channel => 'calm') for @pids;


sub undisturbed {
    $tick++;

    my $r = $http->post('/api/channels/calm/messages', $tick);
    return "publish: $r->{status}" if $r->{status} != 201;

    for my $pid (@pids) {
        my $m = $calm{$pid}->next_push;

        return "nothing arrives at $pid: " . $calm{$pid}->how_it_ended if !$m;
        return "at $pid: " . Fanout::JSON::encode($m)
            if !defined $m->{data} || $m->{data} ne $tick;
    }

    return '';
}


# What was written to the worker before is read, and what it had to say is
# sent: output follows in a second round.

sub settle {
    my ($ws) = @_;

    my $sync = $sync{ $ws->headers->{'x-worker'} };

    $sync->get('/sync') for 1 .. 3;
}


# a generator of our own: the same numbers everywhere

my $state = $seed;

sub below {
    $state = ($state * 1103515245 + 12345) & 0x7fffffff;
    return ($state >> 8) % $_[0];
}

sub any { return $_[below(scalar @_)] }


my @pieces = (
    "\0", '*', '"', '\\', '\\ud800', '\\udc00\\ud800', "\xff", "\xc0\x80",
    "\xe2\x80\xa8", "\xed\xa0\x80", "\xf4\x90\x80\x80", '{', '}', '[' x 70,
    '{"a":' x 70, ']', ',', ':', '-1', '1e999', '-0', '0.1e-99999',
    '4294967296', '18446744073709551616', '9007199254740993', 'null', 'true',
    '""', '[]', '{}', '/', "\n", "\r\n", "\t", 'x' x 300, "\xc2\x85", "\x7f",
    '%00', '%', '"op":"publish",', '"id":1,', '\\u0000', "\xef\xbb\xbf",
);

sub mutate {
    my ($bytes) = @_;

    for (0 .. below(4)) {
        my $n  = length $bytes;
        my $at = below($n + 1);
        my $to = below($n < 40 ? $n + 1 : 40);
        my $how = below(7);

        if ($how == 0) {
            substr($bytes, $at, 1) ^= chr(1 << below(8)) if $at < $n;

        } elsif ($how == 1) {
            substr($bytes, $at, 0) = any(@pieces);

        } elsif ($how == 2) {
            substr($bytes, $at, $to) = '';

        } elsif ($how == 3) {
            substr($bytes, $at, 0) = substr $bytes, below($n + 1), $to;

        } elsif ($how == 4) {
            substr($bytes, $at, $to) = any(@pieces);

        } elsif ($how == 5) {
            substr($bytes, $at, 1) = chr below(256) if $at < $n;

        } elsif (below(4) == 0) {
            substr($bytes, $at) = '';
        }
    }

    return $bytes;
}


# Perl's own check takes surrogates and more than there is

my $utf8 = qr/\A(?:[\0-\x7f] | [\xc2-\xdf][\x80-\xbf]
    | \xe0[\xa0-\xbf][\x80-\xbf] | [\xe1-\xec\xee\xef][\x80-\xbf]{2}
    | \xed[\x80-\x9f][\x80-\xbf] | \xf0[\x90-\xbf][\x80-\xbf]{2}
    | [\xf1-\xf3][\x80-\xbf]{3} | \xf4[\x80-\x8f][\x80-\xbf]{2})*+\z/x;


# JSON as it may be passed through: Perl takes no half surrogates

sub json_of {
    my ($text) = @_;

    $text =~ s/\\u[dD][89a-fA-F][0-9a-fA-F]{2}/\\u0020/g;

    return eval { Fanout::JSON::decode($text) };
}

my %codes = map { $_ => 1 } qw( bad_request unknown_op too_large too_many
                                forbidden not_joined not_found conflict
                                rate_limited method_not_allowed );

# '' or what is wrong with a text that a native client got

sub bad_text {
    my ($text) = @_;

    my $value = json_of($text);

    return 'no JSON: ' . $text if !ref $value;

    for my $m (ref $value eq 'ARRAY' ? @$value : $value) {
        return 'no object: ' . $text if ref $m ne 'HASH';

        if (my $e = $m->{error}) {
            return 'error: ' . $text
                if !$codes{ $e->{code} || '' } || !length($e->{message} || '');
            next;
        }

        return 'what is this? ' . $text
            if !grep { exists $m->{$_} } qw( ok part data welcome gap reset );
    }

    return '';
}


# the same for all frames that are there, and for the close code

my %ends;

sub bad_output {
    my ($ws, $native) = @_;

    settle($ws);

    while (my $f = $ws->recv_frame(0)) {
        return 'a frame with bits that none has'
            if $f->{rsv} || $f->{masked} || !$f->{fin}
            || $f->{opcode} !~ /^(?:1|2|8|9|10)$/;

        if ($f->{opcode} == 1) {
            return 'text that is not UTF-8' if $f->{payload} !~ $utf8;
            next if !$native;

            my $bad = bad_text($f->{payload});
            return $bad if $bad;
        }

        if ($f->{opcode} == 8) {
            my $code = length $f->{payload} ? unpack 'n', $f->{payload} : 1005;

            $ends{$code}++;
            return "close $code"
                if $code !~ /^(?:100[01235789]|101[0-4]|[34]\d{3})$/
                || $code =~ /^101[13]$/ && length $f->{payload} > 2;
            return 'more behind a close'
                if length ${ $ws->buffer };
            last;
        }
    }

    return '';
}


sub command { return Fanout::JSON::encode({ id => below(9), @_ }) }

my $epoch = $http->post('/api/channels/r1/messages', '1')->json->{epoch};

my @commands = (
    command(op => 'join', channel => 'r1', history => 5),
    command(op => 'join', channel => 'r2', since => { epoch => $epoch,
            offset => 1 }, events => [qw( a b )], want => [ 'messages' ],
            echo => Fanout::JSON::false),
    command(op => 'leave', channel => 'r1'),
    command(op => 'publish', channel => 'r1', data => { a => [ 1, 'x' ] },
            event => 'e', key => 'k', meta => { m => 1 }),
    command(op => 'publish', channel => "r\x{e9}5", data => 'AAAA',
            enc => 'base64', store => Fanout::JSON::false),
    command(op => 'publish', channel => 'r1', messages => [
            { data => 1 }, { data => undef, event => 'b' } ],
            if => { epoch => $epoch, offset => 1 }),
    command(op => 'history', channel => 'r1', limit => 5, before => 9),
    command(op => 'history', channel => 'r1',
            since => { epoch => $epoch, offset => 0 }),
    command(op => 'ping'),
    '[' . join(',', command(op => 'ping'), command(op => 'join',
               channel => 'r3', history => 9), '{"op":"nope"}') . ']',
);

sub frame { return Fanout::WS->frame(@_, mask => pack 'N', below(2**31)) }

my @streams = (
    sub { frame(1, any(@commands)) . frame(9, 'ping') . frame(1, any(@commands)) },
    sub { my $c = any(@commands); my $at = below(length $c);
          frame(1, substr($c, 0, $at), fin => 0) . frame(10, '')
          . frame(0, substr $c, $at) },
    sub { frame(2, "\0\xff" x below(200)) . frame(1, 'x' x below(9000)) },
    sub { frame(1, "\xe2\x82\xac" x 5) . frame(8, pack('n', 1000) . 'bye') },
    sub { frame(1, 'x', length => any(126, 65535, 65536, 2**32, 2**40)) },
    sub { frame(below(16), 'y' x below(130), rsv => below(3) ? 0 : below(8),
                fin => below(4) ? 1 : 0) . frame(1, any(@commands)) },
);

sub open_ws {
    return below(2) ? ($nginx->ws(path => '/raw?channel=r' . below(9)), 0)
                    : ($nginx->ws(path => '/realtime'), 1);
}

# each mutation answers '' or what went wrong

my %try = (
    frames => sub {
        my ($ws, $native) = open_ws();
        my $bytes = mutate(any(@streams)->());

        $ws->send_bytes($bytes);
        my $bad = bad_output($ws, $native);
        $ws->cut;

        return $bad && "$bad, after " . unpack 'H*', $bytes;
    },

    json => do {
        my $ws;

        sub {
            $ws ||= $nginx->ws(path => '/realtime');

            my $text = mutate(any(@commands));
            my $ok   = $text =~ $utf8;

            $ws->send_text($text);
            $ws->send_text('{"id":"after","op":"ping"}');

            # everything up to the reply to the ping

            my ($bad, $last) = ('', '');

            while ($last !~ /"id":"after"/) {
                $last = $ws->recv_text;
                last if !defined $last;
                $bad ||= bad_text($last);
            }

            if (!defined $last) {
                my $code = $ws->wait_close || 'no end';
                my $want = $ok ? 'none' : 1007;

                $ends{$code}++;
                $bad ||= "close $code instead of $want" if $code ne $want;
                undef $ws;

            } elsif (!$ok) {
                $bad ||= 'what is not UTF-8 was taken';
            }

            return $bad && "$bad, after $text";
        }
    },

    handshake => sub {
        my $s = Fanout::Socket->open(port => $nginx->port);
        my $text = mutate(
            'GET ' . any('/raw?channel=r1&since=' . "$epoch:1",
                         '/realtime?heartbeat=1', '/realtime')
            . " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            . "Connection: keep-alive, Upgrade\r\nX-User: ann\r\n"
            . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            . "Sec-WebSocket-Version: 13\r\nOrigin: http://localhost\r\n"
            . "Sec-WebSocket-Protocol: fanout.v1, fanout.resume.r_"
            . 'ab' x 24 . "\r\n\r\n"
        ) . "\r\n\r\n";

        $s->send_bytes($text);
        $s->fill(5);

        my $got = ${ $s->buffer };
        $s->cut;

        # a first line without a version is HTTP/0.9: an answer is a body

        return '' if $s->eof && $got eq ''
                  || (split /\n/, $text)[0] !~ / HTTP\//;

        my ($status) = $got =~ m{^HTTP/1\.1 (\d+) };

        return ($status // "\"$got\"") . " for $text"
            if !$status || $status !~ /^(?:101|200|400|403|404|405|408|411|413|414|426|501|505)$/;

        $ends{"HTTP $status"}++;
        return '';
    },

    api => sub {
        my $h = $nginx->http;
        my $body = mutate(any(
            '{"x":[1,2.5,"\\ud83d\\ude00"]}',
            '[{"op":"publish","channel":"r1","data":"AAAA","enc":"base64"},'
            . '{"op":"history","channel":"r1","limit":3}]',
            '{"channels":["r1","r2"],"data":[true],"event":"e"}'));
        my $path = any('/api/channels/r1/messages', '/api/batch',
                       '/api/broadcast', '/api/channels/r%2F1/messages?event=e',
                       "/api/channels/r1/messages?if=$epoch:1");
        $path =~ s{(.*/)(.*)}{$1 . mutate($2)}e if below(2);
        $path =~ s/[\0-\x20\x7f]//g;

        my $r = $h->request(any('POST', 'POST', 'GET'), $path, body => $body,
                            headers => { 'Content-Type' => 'application/json' });

        return "$r->{status} for $path $body"
            if $r->{status} !~ /^(?:200|201|207|400|403|404|405|409|413|414|415)$/;
        $ends{"API $r->{status}"}++;

        return '' if $r->{status} < 400 || ($r->{headers}{'content-type'} || '')
                                           =~ m{^text/html};

        my $e = json_of($r->{body});
        return ref $e && $e->{error} && $codes{ $e->{error}{code} } ? ''
             : "$r->{status} $r->{body} for $path $body";
    },
);


my @kinds = ((q(frames)) x 8, (q(json)) x 8, (q(handshake)) x 3, 'api');

note("seed $seed");

my ($done, $failed, %kinds) = (0, 0);

for my $n (1 .. $count) {
    my $kind = $kinds[$n % @kinds];
    my $from = $state;
    my $bad  = eval { $try{$kind}->() };

    $bad = "died: $@" if !defined $bad;
    $kinds{$kind}++;

    if ($n % 10 == 0) {
        my $others = undisturbed();
        $bad = "others noticed: $others" if $others;
    }

    if ($bad) {
        $bad =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
        diag("mutation $n ($kind, state $from, seed $seed): "
             . substr $bad, 0, 1000);
        last if ++$failed == 5;
    }

    $done++;
}

is($done, $count, 'all mutations were sent');
is($failed, 0, 'each got a clear answer, nobody else noticed');
note(join ', ', map { "$_: $kinds{$_}" } sort keys %kinds);
note(join ', ', map { "$_: $ends{$_}" } sort keys %ends);

# were they of any use?

cmp_ok($ends{$_} || 0, '>', 0, "some ended with $_")
    for 1002, 1007, 1009, 'HTTP 101', 'HTTP 400', 'HTTP 426';


# what is known to break others

subtest 'texts' => sub {
    my $ws = $nginx->native(path => '/realtime', worker => $one);
    my $in = $nginx->native(path => '/realtime', worker => $two);

    $in->ok('join', channel => 'r7');

    for my $data ('"' . "\xe2\x80\xa8\xe2\x80\xa9" . '"', '"\\u2028"',
                  '"\\u0000"', '1e999999',
                  '-1e999999', '1' x 4000, '0.' . '0' x 4000 . '1',
                  '[' x 120 . ']' x 120, '{"a":' x 120 . '1' . '}' x 120,
                  '{"a":1,"a":2,"\\u0061":3}', '{"__proto__":{"x":1}}',
                  "\"\xef\xbf\xbf\xef\xb7\x90\"")
    {
        my $name = substr $data, 0, 30;
        $name =~ s/[^ -~]/?/g;

        $ws->send_text('{"id":"d","op":"publish","channel":"r7","data":'
                       . $data . '}');
        $ws->reply('d')->{ok} or fail("published: $name");

        my $got = $in->recv_text;
        ok(defined $got && index($got, "\"data\":$data,") > 0,
           "passes as it is: $name");
    }

    for my $data ("\"\0\"", "\"\n\"", '"\\x"', '01', '1.', '.5', '+1', 'NaN',
                  'Infinity', "'a'", '[1,]', '{"a":1,}', '{a:1}', 'undefined',
                  '//', '/**/1', '"\\u12"', "\xef\xbb\xbf1",
                  '"', '[', '{"a"', "1\0")
    {
        my $name = substr $data, 0, 30;
        $name =~ s/[^ -~]/?/g;

        $ws->send_text('{"id":"d","op":"publish","channel":"r7","data":'
                       . $data . '}');
        my $e = $ws->next_push;
        is($e && $e->{error}{code}, 'bad_request', "refused: $name");
    }

    for my $bytes ("\xed\xa0\x80", "\xff", "\xc0\xaf", "\xf5\x80\x80\x80") {
        my $bad = $nginx->ws(path => '/realtime');
        $bad->send_text('{"op":"publish","channel":"r7","data":"'
                        . $bytes . '"}');
        is($bad->wait_close, 1007, unpack('H*', $bytes) . ' is no text');
    }

    my $bad = $nginx->ws(path => '/realtime');
    $bad->send_binary('{"op":"ping"}');
    is($bad->wait_close, 1003, 'binary where text is needed');

    is_deeply([ $in->drain ], [], 'nothing of it reached others');
};


subtest 'names' => sub {
    my $ws = $nginx->native(path => '/realtime');

    for my $name ('r*', '*', "r\0", "r\n", "r\x{85}", "r\x7f", 'r' x 256, '') {
        my $json = Fanout::JSON::encode($name);

        is($ws->cmd($_, channel => $name, data => 1)->{error}{code},
           'bad_request', "$_ " . substr $json, 0, 20)
            for qw( join leave publish history );
    }

    for my $name ('r%2A', '%2A', 'r%00', 'r%0A', 'r%C2%85', 'r%7F', 'r%FF',
                  'r%ED%A0%80', 'r' x 256)
    {
        is($http->post("/api/channels/$name/messages", '1')->{status}, 400,
           'API: ' . substr $name, 0, 20);
        is($nginx->ws(path => "/raw?channel=$name", expect => undef)->status,
           400, 'raw: ' . substr $name, 0, 20);
    }
};


subtest 'claims' => sub {
    my %rss = map { $_ => $nginx->rss($_) } @pids;
    my @open;

    for my $pid (@pids) {
        for my $path ('/realtime', '/raw?channel=r1') {
            for my $length (2**32 - 1, 2**32, 2**53, 9223372036854775807) {
                my $ws = $nginx->ws(path => $path, worker => $pid);
                my $native = $path eq '/realtime' && $ws->recv_frame;

                $ws->send_frame(any(1, 2), 'x', length => $length, size => 64);
                is($ws->wait_close, 1009, "$length bytes, so it says");
            }

            for (1 .. 20) {
                push @open, $nginx->ws(path => $path, worker => $pid);
                $open[-1]->send_frame(1, 'x', length => 8192, fin => 0);
            }
        }
    }

    settle($_) for @open[0, 20, 40, 60];

    if (!$ENV{TEST_TIMEOUT_SCALE}) {
        cmp_ok($nginx->rss($_) - $rss{$_}, '<', 4 * 1024 * 1024,
               "worker $_ has not grown") for @pids;
    }

    my $s = Fanout::Socket->open(port => $nginx->port);
    $s->send_bytes("POST /api/channels/r1/messages HTTP/1.1\r\nHost: a\r\n"
                   . "Content-Length: 4294967296\r\n\r\nx");
    $s->fill;
    like(${ $s->buffer }, qr/^HTTP\/1\.1 413 /, 'a body of 4 GiB');
};


for my $n (1 .. 10) {
    my $bad = undisturbed();
    $bad ? fail("undisturbed to the end: $bad") : next;
    last;
}

is_deeply([ $nginx->worker_pids ], [ @pids ], 'the same workers serve');
is_deeply([ map { $_->drain } values %calm ], [], 'and nobody got more');
ok(wait_for(sub {
    my $n = 0;
    $n += $sync{$_}->get('/status?format=json')->json->{worker}{sessions}
        for @pids;
    return $n <= 2 + 1;
}), 'no session is left behind');

done_testing();
