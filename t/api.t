#!/usr/bin/env perl

# The HTTP API of one channel: if this fails, a backend can't publish, its
# message arrives as another one than it sent, a retry is published twice, or
# a mistake is answered by something that doesn't say what was wrong.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 8m;
        fanout_zone tiny 2m;
        fanout_channel app kept:* history=10;
        fanout_channel app * history=100;
        fanout_channel tiny * history=100;
        client_max_body_size 20m;
END
    server => <<'END',
        location /fanout/  { fanout_api app; }
        location /realtime { fanout app; fanout_permit all *; }
        location /noslash  { fanout_api app; }
        location ~ ^/re/   { fanout_api app; }
        location /old/     { rewrite ^/old/(.*) /fanout/$1 last; }
        location /if/      { if ($arg_event) { set $e 1; } fanout_api app; }
        location /except/  { fanout_api app; limit_except GET { deny 127.0.0.2; } }
        location /never/   { fanout_api app; limit_except GET { deny all; } }
        location /small/   { fanout_api app; fanout_message_size 100; }
        location /file/    { fanout_api app; client_body_buffer_size 1k;
                             fanout_message_size 4m; }
        location /mirrored/ { mirror /copy; fanout_api app; }
        location = /copy   { internal; proxy_set_header Content-Type text/plain;
            proxy_pass http://127.0.0.1:%%PORT%%/fanout/channels/copy/messages; }
        location /tiny/    { fanout_api tiny; fanout_message_size 8m; }
END
    servers => <<'END',
        server {
            listen 127.0.0.1:%%PORT1%% http2;
            location /fanout/ { fanout_api app; }
        }
END
);

my $http = $nginx->http;


sub url     { "/fanout/channels/$_[0]/messages" . ($_[1] // '') }
sub publish { my ($c, $body, %h) = @_; $http->post(url($c), $body, headers => \%h) }

sub last_of {
    my ($channel, $via) = @_;

    return ($via || $http)->get(url($channel, '?limit=1'))->json->{messages}[0];
}

sub refused {
    my ($r, $status, $code, $message, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    subtest $name => sub {
        is($r->{status}, $status, 'status');
        is($r->{headers}{'content-type'}, 'application/json', 'type');
        is($r->json->{error}{code}, $code, 'code');
        like($r->json->{error}{message}, $message, 'message');
    };
}


subtest 'an answer' => sub {
    my $r = publish('answer', '{"x":1}');

    is($r->{status}, 201);
    is($r->{headers}{'content-type'}, 'application/json');
    like($r->json->{epoch}, qr/^[0-9a-f]{16}$/, 'epoch');
    is($r->json->{offset}, 1, 'offset');
    cmp_ok(abs($r->json->{time} / 1000 - time), '<', 3600, 'time');
    ok(!exists $r->json->{duplicate}, 'no duplicate');

    my $next = publish('answer', '{"x":2}')->json;

    is($next->{epoch}, $r->json->{epoch}, 'the same epoch');
    is($next->{offset}, 2, 'the next offset');
    cmp_ok($next->{time}, '>=', $r->json->{time}, 'time never goes back');
};


subtest 'kinds of data' => sub {
    my @kinds = (
        # type, body, what is read, enc
        [ 'application/json', ' { "a" : [ 1 , "b c" ] } ', { a => [1, 'b c'] } ],
        [ 'application/json; charset=utf-8', '"x"', 'x' ],
        [ 'application/vnd.x+json', '[null]', [undef] ],
        [ 'Application/JSON', '17', 17 ],
        [ 'text/plain', '{"a":1}', '{"a":1}' ],
        [ 'text/plain; charset=utf-8', "l1\nl2\t\"q\"\\\x00\x7f", "l1\nl2\t\"q\"\\\x00\x7f" ],
        [ 'application/octet-stream', "\x00\xff\xfe\n", "AP/+Cg==", 'base64' ],
        [ 'image/png', "abc", "YWJj", 'base64' ],
        [ 'application/x-www-form-urlencoded', '{"c":"url"}', { c => 'url' } ],
        [ 'application/x-www-form-urlencoded', 'hello you', 'hello you' ],
        [ 'application/x-www-form-urlencoded', "\xff", '/w==', 'base64' ],
        [ undef, '[1]', [1] ],
        [ undef, '{"broken', '{"broken' ],
    );

    for my $k (@kinds) {
        my ($type, $body, $data, $enc) = @$k;

        my $r = publish('kinds', $body, defined $type ? ('Content-Type' => $type) : ());
        my $m = last_of('kinds');
        my $name = ($type // 'no type') . ' ' . Fanout::JSON::encode([$body]);

        is($r->{status}, 201, "$name: published");
        is($m->{offset}, $r->json->{offset}, "$name: there");
        is_deeply($m->{data}, $data, "$name: data");
        is($m->{enc}, $enc, "$name: enc");
    }
};


subtest 'JSON is kept byte for byte, but for whitespace' => sub {
    for my $json ('{"n":1.50e+3,"big":123456789012345678901234567890}',
                  '"\ud83d\ude00 \u2028 \/ \u0000"', "\"\xe2\x80\xa8\"",
                  '{"a":1,"a":2}', 'null', 'false', '""',
                  '[' x 120 . ']' x 120)
    {
        is(publish('bytes', $json, 'Content-Type' => 'application/json')->{status}, 201,
           "$json published");
        like($http->get(url('bytes', '?limit=1'))->{body}, qr/"data":\Q$json\E[,}]/,
             "$json read");
    }
};


subtest 'text is escaped' => sub {
    publish('text', "\xe2\x80\xa8\xe2\x80\xa9</script>\x01", 'Content-Type' => 'text/plain');

    my $r = $http->get(url('text'));

    like($r->{body}, qr/"data":"\\u2028\\u2029/, 'line ends of JavaScript');
    is($r->json->{messages}[0]{data}, "\x{2028}\x{2029}</script>\x01", 'the same text');
};


subtest 'bad data' => sub {
    my %json = ('Content-Type' => 'application/json');

    refused(publish('bad', ''), 400, 'bad_request', qr/body is empty/, 'no body');
    refused($http->request('POST', url('bad')), 400, 'bad_request', qr/body is empty/,
            'no body and no length');
    refused(publish('bad', '{"a":}', %json), 400, 'bad_request', qr/JSON.*\b5\b/,
            'broken JSON, with its position');
    refused(publish('bad', '1 2', %json), 400, 'bad_request', qr/JSON/, 'two values');
    refused(publish('bad', "\"\xff\"", %json), 400, 'bad_request', qr/UTF-8/, 'no UTF-8');
    refused(publish('bad', "\"\xed\xa0\x80\"", %json), 400, 'bad_request', qr/UTF-8/,
            'a surrogate as bytes');
    refused(publish('bad', '[' x 121 . ']' x 121, %json), 400, 'bad_request', qr/nests more/,
            'deep');
    refused(publish('bad', "\xc3", 'Content-Type' => 'text/plain'), 400, 'bad_request',
            qr/UTF-8/, 'text that is no UTF-8');

    refused(publish('bad', '1', 'Content-Encoding' => 'gzip'), 415, 'bad_request',
            qr/Content-Encoding/, 'packed');

    is($http->get(url('bad'))->{status}, 404, 'nothing was published');
    is(publish('good', '1', 'Content-Encoding' => 'identity')->{status}, 201, 'not packed');
};


subtest 'event, user, meta, store' => sub {
    publish('args', '1');
    my $m = last_of('args');
    is_deeply([sort keys %$m], [qw( data offset time )], 'nothing but what is there');

    $http->post(url('args', '?event=m%C3%A9+x&user=a%26b%2Bc&meta=%7B%22k%22%3A+1%7D'), '1');
    $m = last_of('args');

    is($m->{event}, "m\x{e9} x", 'event');
    is_deeply($m->{from}, { user => 'a&b+c' }, 'user');
    is_deeply($m->{meta}, { k => 1 }, 'meta');

    my $r = $http->post(url('args', '?store=0'), '"passing"')->json;
    is($r->{offset}, 3, 'what is not stored takes an offset');
    is(last_of('args')->{offset}, 2, 'and is not in the history');

    is($http->post(url('args', '?event='), '1')->{status}, 201, 'an empty argument is none');

    refused($http->post(url('args', '?event=' . 'x' x 129), '1'), 400, 'bad_request',
            qr/"event".*128/, 'a long event');
    refused($http->post(url('args', '?event=a%0Ab'), '1'), 400, 'bad_request',
            qr/"event"/, 'a line end in an event');
    refused($http->post(url('args', '?user=' . 'x' x 256), '1'), 400, 'bad_request',
            qr/"user".*255/, 'a long user');
    refused($http->post(url('args', '?user=%FF'), '1'), 400, 'bad_request',
            qr/"user"/, 'a user that is no UTF-8');
    refused($http->post(url('args', '?store=maybe'), '1'), 400, 'bad_request',
            qr/"store"/, 'store');
    refused($http->post(url('args', '?meta=%7B'), '1'), 400, 'bad_request',
            qr/"meta" is not JSON/, 'broken meta');
    refused($http->post(url('args', '?meta=%22' . 'x' x 1023 . '%22'), '1'), 413, 'too_large',
            qr/"meta" of 1024/, 'a long meta');
    is($http->post(url('args', '?meta=%22' . 'x' x 1022 . '%22'), '1')->{status}, 201,
       'the longest meta');
};


subtest 'names' => sub {
    my @good = ('a/b', 'a b', 'a+b', 'a%b', 'a?b', 'a#b', '"', '\\', "\xc3\xa9",
                "\xf0\x9f\x98\x80", "\xe2\x80\xa8", 'channels', 'messages', '..', '.',
                'a/../b', 'x' x 255, "\xc3\xa9" x 127);

    for my $name (@good) {
        (my $enc = $name) =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ge;

        my $r = publish($enc, '"' . length($name) . '"');
        is($r->{status}, 201, "$enc published") or diag $r->{body};
        is(last_of($enc)->{data}, length($name), "$enc read");

        utf8::decode(my $text = $name);
        is($http->get("/fanout/channels/$enc")->json->{name}, $text, "$enc is its name");
    }

    publish('plus+', '1');
    is($http->get('/fanout/channels/plus%2B')->{status}, 200, 'a plus is a plus in a path');
    isnt(last_of('a%2Fb')->{data}, undef, '%2F is no slash');
    is($http->get('/fanout/channels/a/b/messages')->{status}, 404, 'a slash is one');

    my $bad = qr/channel's name.*255 bytes of UTF-8/;

    refused(publish($_, '1'), 400, 'bad_request', $bad, "$_ refused")
        for '', '*', 'a%2A', '%01', '%0A', '%7F', '%C2%85', '%FF', '%C3', '%ED%A0%80',
            '%C0%80', 'x' x 256, '%C3%A9' x 128;

    for ('%00', 'a%00b', '%', '%4', '%zz') {
        is(publish($_, '1')->{status}, 400, "$_ refused");
    }
};


subtest 'locations' => sub {
    is($http->post('/noslash/channels/where/messages', '1')->{status}, 201, 'no slash at the end');
    is($http->post('/re/channels/where/messages', '1')->{status}, 201, 'a regex');
    is($http->post('/old/channels/where/messages', '1')->{status}, 201, 'a rewrite');
    is($http->post('/f%61nout/channels/wh%65re/messages', '1')->{status}, 201, 'encoded');
    is($http->post('/if/channels/where/messages', '1')->{status}, 201, 'an "if" not taken');
    is($http->post('/if/channels/where/messages?event=e', '1')->{status}, 201, 'one taken');
    is($http->post('/except/channels/where/messages', '1')->{status}, 201, 'limit_except');
    is($http->post('/never/channels/where/messages', '1')->{status}, 403, 'one that denies');
    is($http->get('/never/channels/where')->json->{offset}, 7, 'all the same channel');

    refused($http->get('/noslashchannels'), 404, 'not_found', qr/no such route/, 'half a word');
};


subtest 'keys' => sub {
    my $first = publish('keys', '"one"', 'Fanout-Key' => 'k1');
    my $again = publish('keys', '"other"', 'fanout-key' => 'k1');

    is($first->{status}, 201, 'the first is created');
    is($again->{status}, 200, 'the second is not');
    is_deeply($again->json, { %{ $first->json }, duplicate => Fanout::JSON::true() },
              'and gets the first result');
    is_deeply([ map { $_->{data} } @{ $http->get(url('keys'))->json->{messages} } ],
              ['one'], 'nothing was appended');
    is(last_of('keys')->{key}, 'k1', 'subscribers see the key');

    is($http->post(url('keys', '?user=ann'), '"a"', headers => { 'Fanout-Key' => 'k1' })
            ->json->{offset}, 2, 'another user has keys of its own');
    is($http->post(url('keys', '?user=ann'), '"a"', headers => { 'Fanout-Key' => 'k1' })
            ->json->{duplicate}, Fanout::JSON::true(), 'also twice');
    is(publish('keys2', '1', 'Fanout-Key' => 'k1')->json->{offset}, 1,
       'another channel as well');

    is(publish('keys', '1', 'Fanout-Key' => 'k' x 128)->{status}, 201, 'the longest key');
    refused(publish('keys', '1', 'Fanout-Key' => 'k' x 129), 400, 'bad_request',
            qr/"key".*128/, 'a long key');
    refused(publish('keys', '1', 'Fanout-Key' => "\xff"), 400, 'bad_request', qr/"key"/,
            'a key that is no UTF-8');

    for my $name ('Fanout-Key', 'Idempotency-Key') {
        refused($http->post(url('keys'), '1', headers => [ [ $name => 'x' ], [ $name => 'y' ] ]),
                400, 'bad_request', qr/the header $name is there twice/, "$name twice");
    }
};


subtest 'if' => sub {
    my $r = publish('if', '1')->json;
    my $at = "$r->{epoch}:$r->{offset}";

    is($http->post(url('if', "?if=$at"), '2')->{status}, 201, 'it holds');

    my $no = $http->post(url('if', "?if=$at"), '3');

    refused($no, 409, 'conflict', qr/is at $r->{epoch}:2/, 'it does not hold any more');
    is_deeply($no->json->{error}{data}, { epoch => $r->{epoch}, offset => 2 },
              'what the channel has');

    refused($http->post(url('if', '?if=0123456789abcdef:2'), '3'), 409, 'conflict', qr/is at/,
            'another epoch');
    is($http->get('/fanout/channels/if')->json->{offset}, 2, 'nothing was appended');

    refused($http->post(url('if', "?if=$_"), '3'), 400, 'bad_request', qr/"if".*epoch:offset/,
            "if=$_")
        for '1', ':1', "$r->{epoch}", "$r->{epoch}:", "$r->{epoch}:x", "$r->{epoch}:-1",
            "$r->{epoch}:9007199254740992", 'x' x 129 . ':1';

    refused($http->post(url('if', "?if=$_:2"), '3'), 409, 'conflict', qr/is at/,
            'an epoch that is none of ours')
        for 'x', '0', uc $r->{epoch}, "$r->{epoch}0", '%00', '%C3%A4' x 60;
};


subtest 'sizes' => sub {
    my $small = '/small/channels/size/messages';

    is($http->post($small, '"' . 'x' x 98 . '"')->{status}, 201, 'the largest');

    my $r = $http->post($small, '"' . 'x' x 99 . '"');

    refused($r, 413, 'too_large', qr/"message" of 100/, 'one byte more');
    is_deeply($r->json->{error}{data}, { limit => 'message', max => 100 }, 'the limit');

    is($http->get('/fanout/channels/size')->json->{offset}, 1, 'nothing was appended');

    my $data = join ' ', 1 .. 300000;
    cmp_ok(length $data, '>', 1024 * 1024, 'a large message');

    for my $type ('text/plain', 'application/json') {
        my $body = $type eq 'text/plain' ? $data : qq( "$data" );

        $r = $http->post('/file/channels/large/messages', $body,
                         headers => { 'Content-Type' => $type });

        is($r->{status}, 201, "from a file, $type");
        ok(last_of('large')->{data} eq $data, 'and the same');
    }

    refused($http->post('/tiny/channels/a/messages', 'x' x 4000000), 413, 'too_large',
            qr/4000000.*zone/, 'more than the zone holds');
    is($http->post('/tiny/channels/a/messages', 'x')->{status}, 201, 'then a small one');
};


subtest 'bodies as they come' => sub {
    my $head = 'POST ' . url('chunks') . " HTTP/1.1\r\nHost: localhost\r\n"
             . "Transfer-Encoding: chunked\r\n\r\n";

    my $r = $http->raw($head . "3\r\n{\"a\r\n1\r\n\"\r\n4;x=y\r\n:[1]\r\n1\r\n}\r\n0\r\n\r\n");
    is($r->{status}, 201, 'chunked');
    is_deeply(last_of('chunks')->{data}, { a => [1] }, 'put together');

    refused($http->raw($head . "0\r\n\r\n"), 400, 'bad_request', qr/empty/, 'no chunk');

    my $long = 'y' x 200000;
    (my $file = $head) =~ s{/fanout/}{/file/};
    $r = $http->raw($file . join('', map { sprintf "%x\r\n%s\r\n", length, $_ }
                                      unpack '(a777)*', $long) . "0\r\n\r\n");
    is($r->{status}, 201, 'many chunks');
    ok(last_of('chunks')->{data} eq $long, 'through a file');

    my $s = Fanout::Socket->open(port => $nginx->port);
    my $body = ' { "slow" : "by  bytes" } ';
    my $bytes = 'POST ' . url('slow') . " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
              . 'Content-Length: ' . length($body) . "\r\n\r\n$body";

    $s->send_bytes($_) for split //, $bytes;
    1 while !$s->eof && $s->fill(5);
    like(${ $s->buffer }, qr/^HTTP\/1.1 201 /, 'byte for byte');
    is_deeply(last_of('slow')->{data}, { slow => 'by  bytes' }, 'and whole');
    $s->disconnect;

    my $two = join '', map {
        'POST ' . url('pipe') . " HTTP/1.1\r\nHost: localhost\r\n"
        . ($_ == 2 ? "Connection: close\r\n" : '') . "Content-Length: 9\r\n\r\n { \"$_\":0}"
    } 1, 2;

    $s = Fanout::Socket->open(port => $nginx->port);
    $s->send_bytes($two);
    1 while !$s->eof && $s->fill(5);
    is(() = ${ $s->buffer } =~ /^HTTP\/1.1 201 /mg, 2, 'two at once');
    is_deeply([ map { keys %{ $_->{data} } } @{ $http->get(url('pipe'))->json->{messages} } ],
              [1, 2], 'one after the other');
    $s->disconnect;
};


subtest 'a mirror gets what the client sent' => sub {
    my $body = ' { "a" : 1 , "b" : [ ] } ';

    is($http->post('/mirrored/channels/mirrored/messages', $body)->{status}, 201);
    is_deeply(last_of('mirrored')->{data}, { a => 1, b => [] }, 'minified here');

    ok(wait_for(sub { $http->get('/fanout/channels/copy')->{status} == 200 }), 'copied');
    is(last_of('copy')->{data}, $body, 'as it was there');
};


subtest 'a connection is kept' => sub {
    my $h = $nginx->http;

    $h->post(url('keep'), '1');
    $h->post(url('keep'), '');
    $h->get(url('keep'));
    $h->get(url('nobody'));
    $h->post('/small/channels/keep/messages', 'x' x 500);
    $h->request('PUT', url('keep'), body => '1');
    $h->get('/fanout/nothing');
    $h->head(url('keep'));
    is($h->get(url('keep'))->{status}, 200);
    is($h->reused, 8, 'through answers and errors');
};


subtest 'routes and methods' => sub {
    refused($http->get("/fanout$_"), 404, 'not_found', qr/no such route/, "no $_")
        for '/', '/nothing', '/channels/a/messages/1', '/channels/a/other', '/batch/x',
            '/channels/a/messages/1/2/3', '//channels';

    my %allow = (
        '/channels'            => 'GET, HEAD',
        '/channels/a'          => 'GET, HEAD, DELETE',
        '/channels/a/messages' => 'GET, HEAD, POST',
        '/batch'               => 'POST',
        '/broadcast'           => 'POST',
    );

    for my $path (sort keys %allow) {
        my %may = map { $_ => 1 } split /, /, $allow{$path};

        for my $method (grep { !$may{$_} } qw( GET POST PUT PATCH DELETE OPTIONS )) {
            my $r = $http->request($method, "/fanout$path", body => '{}');

            refused($r, 405, 'method_not_allowed', qr/$allow{$path}/, "$method $path");
            is($r->{headers}{allow}, $allow{$path}, "$method $path: Allow");
        }
    }

    my $r = $http->head(url('answer'));
    my $get = $http->get(url('answer'));

    is($r->{status}, 200, 'HEAD');
    is($r->{body}, '', 'HEAD has no body');
    is($r->{headers}{'content-length'}, length $get->{body}, 'but its length');
    is($http->head(url('nobody'))->{status}, 404, 'HEAD of what is not there');
    is($http->get("/fanout/channels/?limit=9")->{status}, 200, 'a slash at the end');
};


subtest 'two workers' => sub {
    my ($one, $two) = map { $nginx->http(worker => $_) } $nginx->worker_pids;

    for my $i (1 .. 20) {
        my $r = ($i % 2 ? $one : $two)->post(url('both'), $i);
        is($r->json->{offset}, $i, "offset $i");
    }

    is_deeply($one->get(url('both'))->json, $two->get(url('both'))->json, 'both read the same');
    is(scalar @{ $two->get(url('both'))->json->{messages} }, 20, 'and all');

    $one->post(url('both'), '1', headers => { 'Fanout-Key' => 'x' });
    is($two->post(url('both'), '1', headers => { 'Fanout-Key' => 'x' })->{status}, 200,
       'a key is known to both');
};


subtest 'subscribers' => sub {
    my @clients = map { $nginx->native(worker => $_) } $nginx->worker_pids;

    $_->ok('join', channel => 'live') for @clients;

    my $info = wait_for(sub {
        my $r = $http->get('/fanout/channels/live');
        return $r->{status} == 200 && $r->json->{subscribers} == 2 && $r->json;
    });

    is($info->{workers}, 2, 'both are counted');

    my $r = $http->post(url('live', '?event=e&user=ann&meta=%5B1%5D'), ' { "x" : 1 } ',
                        headers => { 'Fanout-Key' => 'k' })->json;
    my %m = (channel => 'live', offset => 1, time => $r->{time}, event => 'e', key => 'k',
             data => { x => 1 }, from => { user => 'ann' }, meta => [1]);

    is_deeply($_->next_push, \%m, 'JSON') for @clients;

    publish('live', "t\xe2\x80\xa8", 'Content-Type' => 'text/plain');
    is($_->next_push->{data}, "t\x{2028}", 'text') for @clients;

    publish('live', "\xff", 'Content-Type' => 'image/png');
    is_deeply([ @{ $_->next_push }{qw( data enc )} ], [ '/w==', 'base64' ], 'binary')
        for @clients;

    $http->post(url('live', '?store=0'), '"passing"');
    is($_->next_push->{data}, 'passing', 'what is not kept') for @clients;

    $http->post('/fanout/broadcast', '{"channels":["other","live"],"data":"all"}');
    is($_->next_push->{data}, 'all', 'a broadcast') for @clients;

    $http->post('/fanout/batch', '[{"op":"publish","channel":"live","data":"many"}]');
    is($_->next_push->{data}, 'many', 'a batch') for @clients;

    my $new = $http->delete('/fanout/channels/live?reason=tidy%20up')->json;
    is_deeply($_->next_push, { channel => 'live',
                               reset => { epoch => $new->{epoch}, offset => 0,
                                          reason => 'tidy up' } }, 'a purge')
        for @clients;

    publish('live', '"after"');
    is($_->next_push->{offset}, 1, 'and what follows') for @clients;

    my $p = $clients[0]->ok('publish', channel => 'live', data => 'hi');
    my $last = last_of('live');
    is_deeply($last, { offset => $p->{offset}, time => $p->{time}, data => 'hi',
                       from => { client => $clients[0]->welcome->{client} } },
              'what a client says is read with its name');
};


sub h2_frame {
    my ($type, $flags, $stream, $payload) = @_;

    return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream)
           . $payload;
}

sub h2_field { join '', "\x00", map { chr(length) . $_ } @_ }

subtest 'HTTP/2' => sub {
    my $s = Fanout::Socket->open(port => $nginx->port('PORT1'));

    my $headers = join '', map { h2_field(@$_) }
        [ ':method', 'POST' ], [ ':scheme', 'http' ], [ ':path', url('h2%2Fx') ],
        [ ':authority', 'localhost' ], [ 'fanout-key', 'h2' ],
        [ 'content-type', 'application/json' ];

    $s->send_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . h2_frame(4, 0, 0, '')
                   . h2_frame(1, 4, 1, $headers)
                   . h2_frame(0, 0, 1, '{"over" : ') . h2_frame(0, 1, 1, '2}'));

    my ($body, $end) = ('', 0);

    while (!$end && !$s->eof && $s->fill(5)) {
        my $b = $s->buffer;

        while (length $$b >= 9) {
            my $len = unpack 'N', "\0" . substr $$b, 0, 3;
            last if length $$b < 9 + $len;

            my ($type, $flags, $id) = unpack 'CCN', substr $$b, 3, 6;
            my $payload = substr substr($$b, 0, 9 + $len, ''), 9;

            $body .= $payload if $type == 0;
            $end = 1 if $id == 1 && $type <= 1 && $flags & 1;
        }
    }

    is(eval { Fanout::JSON::decode($body)->{offset} }, 1, 'published') or diag $body;
    is_deeply(last_of('h2%2Fx')->{data}, { over => 2 }, 'read');
    is(last_of('h2%2Fx')->{key}, 'h2', 'with its key');
    $s->disconnect;
};
