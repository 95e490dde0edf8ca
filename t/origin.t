#!/usr/bin/env perl

# Pages of strangers. If this fails, any page that a user opens speaks in the
# user's name, takes the user's sessions, or empties the channels of an
# operator; or a page that was let in can't read why it was refused.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx;
use Fanout::Stream;


my $nginx = Fanout::Nginx->start(
    tls  => 1,
    http => <<'END',
        fanout_zone app 8m;
        fanout_channel app room:* presence=on history=10;
        fanout_channel app * history=10;
        fanout_user $cookie_sid;
        fanout_permit all *;
END
    server => <<'END',
        server_name one.test *.two.test .three.test four.*
                    ~^five\d+\.test$;

        location /rt    { fanout app; fanout_message_size 1k; }
        location /any   { fanout app; fanout_origin *; }
        location /both  { fanout app; fanout_origin * https://app.test; }
        location /list  {
            fanout app;
            fanout_message_size 1k;
            fanout_permit all a room:*;
            fanout_origin https://app.test https://port.test:443
                          http://plain.test:8080 https://[::1];
        }
        location /below {
            fanout app;
            fanout_origin https://*.example.com https://*.Port.test:8443
                          http://*.localhost tauri://*.app.test;
        }
        location /apps  {
            fanout app;
            fanout_origin null capacitor://localhost tauri://localhost
                          chrome-extension://abcdef file://;
        }
        location /https { fanout app; fanout_origin same scheme=https; }
        location /front {
            fanout app;
            fanout_origin same scheme=$http_x_forwarded_proto;
        }
        location /one   { fanout app; fanout_sessions_per_user 1;
                          fanout_origin https://app.test; }
        location /worker { fanout app; fanout_sessions 1;
                           fanout_origin https://app.test; }
        location /ws    { fanout app; fanout_transports websocket;
                          fanout_origin https://app.test; }
        location /raw   { fanout app; fanout_dialect raw; }

        location /api/  { fanout_api app; }
        location /open/ {
            fanout_api app origin=https://console.test origin=same
                       host=api.test host=*.api.test;
        }
        location /below/ { fanout_api app origin=https://*.example.com; }
        location /wide/ { fanout_api app origin=* host=*; }
        location /if/   {
            fanout_api app host=if.test;
            if ($arg_x) { set $y 1; }
        }
        location /status { fanout_status app; }
        location /seen/  {
            fanout_status app host=seen.test;
            location /seen/in { fanout_status app host=in.test; }
            if ($arg_x) { set $y 1; }
        }
END
);

my $http = $nginx->http;
my $key  = 'dGhlIHNhbXBsZSBub25jZQ==';


sub handshake {
    my ($path, $host, @origins) = @_;

    my $ws = $nginx->ws(expect => undef, request => join '',
        "GET $path HTTP/1.1\r\n", defined $host ? "Host: $host\r\n" : '',
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: $key\r\n",
        (map { "Origin: $_\r\n" } @origins), "\r\n");

    my $status = $ws->status;
    $ws->cut;

    return $status;
}


# all of what browsers say

sub ask {
    my ($method, $path, $headers, $body) = @_;

    return $http->request($method => $path, headers => {
        Host => 'one.test', %$headers
    }, defined $body ? (body => $body) : ());
}


sub join_arg {
    return 'join=' . Fanout::Stream::escape(Fanout::JSON::encode($_[0]));
}


subtest 'scheme, host and port are compared' => sub {
    for ([ 'https://one.test',      'one.test' ],
         [ 'https://one.test',      'one.test:443' ],
         [ 'https://one.test:443',  'one.test' ],
         [ 'http://one.test',       'one.test:80' ],
         [ 'HTTPS://ONE.TEST',      'one.test' ],
         [ 'http://one.test:8080',  'one.test:8080' ],
         [ 'http://[::1]',          '[::1]:80' ],
         [ 'https://[::1]:8443',    '[::1]:8443' ])
    {
        is(handshake('/rt', $_->[1], $_->[0]), 101, "@$_");
    }

    for ([ 'https://one.test',      'one.test:8443' ],
         [ 'https://one.test:8443', 'one.test' ],
         [ 'https://one.test',      'one.test:80' ],
         [ 'http://one.test',       'one.test:443' ],
         [ 'ftp://one.test',        'one.test' ],
         [ 'ws://one.test',         'one.test' ],
         [ '//one.test',            'one.test' ],
         [ 'null',                  'one.test' ],
         [ '',                      'one.test' ],
         [ 'https://one.test/',     'one.test' ],
         [ 'https://evil.test@one.test',   'one.test' ],
         [ 'https://one.test.evil.test',   'one.test' ],
         [ 'https://evil.test/one.test',   'one.test' ],
         [ 'https://one.test:0',    'one.test' ],
         [ 'https://one.test:x',    'one.test' ],
         [ 'https://one.test:65979', 'one.test' ])
    {
        is(handshake('/rt', $_->[1], $_->[0]), 403, "@$_");
    }

    is(handshake('/rt', 'one.test', 'https://one.test', 'https://one.test'),
       403, 'two of them');

    is(handshake('/list', 'x', $_), 101, "listed: $_")
        for 'https://app.test', 'https://app.test:443', 'https://port.test',
            'https://PORT.test', 'http://plain.test:8080', 'https://[::1]:443';

    is(handshake('/list', 'x', $_), 403, "not listed: $_")
        for 'http://app.test', 'https://app.test:80', 'http://plain.test',
            'https://app.test.', 'null', 'https://x';

    is(handshake('/apps', 'x', $_), 101, "an app: $_")
        for 'null', 'capacitor://localhost', 'tauri://localhost',
            'chrome-extension://abcdef', 'file://';
    is(handshake('/apps', 'x', $_), 403, "another: $_")
        for 'capacitor://evil', 'chrome-extension://abcdeg', 'https://x',
            'tauri://localhost:1', 'http://localhost';
};


# A host that only looks as if it were below the domain is a stranger's.

subtest 'all hosts below a domain' => sub {
    is(handshake('/below', 'x', $_), 101, "below: $_")
        for 'https://a.example.com', 'https://a.example.com:443',
            'https://a.b.example.com', 'https://a.b.c.d.example.com',
            'HTTPS://A.EXAMPLE.COM', 'https://example.com.example.com',
            'https://a-1_b.example.com', 'https://xn--bcher-kva.example.com',
            'https://a.port.test:8443', 'http://a.localhost',
            'http://a.b.localhost:80', 'tauri://x.app.test';

    is(handshake('/below', 'x', $_), 403, "not below: $_")
        for 'https://example.com', 'https://.example.com',
            'https://..example.com', 'https://a..example.com',
            'https://.a.example.com', 'https://evil-example.com',
            'https://xample.com', 'https://evilexample.com',
            'https://example.com.evil.net', 'https://a.example.com.evil.net',
            'https://a.example.com.', 'https://a.example.com..',
            'https://a.example.co', 'https://a.example.comm',
            'https://evil.net/a.example.com', 'https://evil.net#.example.com',
            'https://evil.net?.example.com', 'https://evil.net\\.example.com',
            'https://user@a.example.com', 'https://evil.net@a.example.com',
            'https://a.example.com@evil.net', 'https://a:b@a.example.com',
            'https://evil.net:443.example.com', 'https://[::1].example.com',
            'https://*.example.com', 'http://a.example.com',
            'https://a.example.com:8443', 'https://a.example.com:80',
            'http://a.example.com:443', 'wss://a.example.com',
            'tauri://a.example.com', 'https://a.port.test',
            'https://port.test:8443', 'http://localhost',
            'https://a.localhost', 'tauri://x.app.test:1', 'tauri://',
            'null', '', 'a.example.com', '//a.example.com',
            'https://a.example.com/', 'https://a.example.com https://b.test';

    # a request without Origin, to a host that is below it itself

    for ([ 'a.example.com', 200 ], [ 'example.com', 403 ],
         [ 'evil-example.com', 403 ])
    {
        is(ask(GET => '/below?channel=a&poll=1', {
            Host => $_->[0], 'Sec-Fetch-Site' => 'same-origin'
        })->{status}, $_->[1], "same-origin: $_->[0]");
    }

    # a page reads responses as one whose origin is named

    for my $try ([ GET => '/below?channel=a' ],
                 [ GET => '/below?channel=a&poll=1' ],
                 [ POST => '/below', '{"id":1,"op":"ping"}' ],
                 [ OPTIONS => '/below' ], [ GET => '/below/channels' ],
                 [ OPTIONS => '/below/channels' ])
    {
        my ($method, $path, $body) = @$try;

        my $from = sub {
            my $s = eval { Fanout::HTTP->new(port => $nginx->port)->start(
                $method => $path, headers => {
                    Host => 'one.test', Origin => $_[0],
                    $method eq 'OPTIONS'
                    ? ('Access-Control-Request-Method' => 'POST') : (),
                    'Content-Type' => 'application/json' },
                defined $body ? (body => $body) : ()) };
            return $s // diag($@);
        };

        my $r = $from->('https://a.b.example.com');
        my $h = $r->{headers};

        like($r->{status}, qr/^20[04]$/, "$method $path");
        is($h->{'access-control-allow-origin'}, 'https://a.b.example.com',
           'may be read');
        is($h->{'access-control-allow-credentials'}, 'true', 'with cookies');
        is($h->{vary}, 'Origin', 'by this page alone');

        for my $evil (qw( https://evil-example.com https://example.com )) {
            $r = $from->($evil);
            is($r->{status}, 403, "$method $path: $evil");
            is($r->{headers}{'access-control-allow-origin'}, undef, 'unread');
        }
    }
};


subtest 'same has the scheme of the connection' => sub {
    my $tls = sub {
        my ($origin) = @_;

        my $ws = $nginx->ws(expect => undef, tls => 1,
                            path => '/rt', headers => {
            Host => 'one.test', Origin => $origin });
        my $status = $ws->status;
        $ws->cut;

        return $status;
    };

    is($tls->('https://one.test'), 101, 'TLS and https');
    is($tls->('http://one.test'), 403, 'TLS, and a page that came without');

    is(handshake('/https', 'one.test', 'https://one.test'), 101, 'scheme=');
    is(handshake('/https', 'one.test', 'http://one.test'), 403, 'another');

    my $front = sub {
        my ($proto, $origin) = @_;

        return ask(POST => '/front', { Origin => $origin, 'Content-Type' =>
            'application/json', $proto ? ('X-Forwarded-Proto' => $proto)
                                       : () }, '{"id":1,"op":"ping"}'
        )->{status};
    };

    is($front->('https', 'https://one.test'), 200, 'what the proxy says');
    is($front->('https', 'http://one.test'), 403, 'a page without TLS');
    is($front->('http', 'http://one.test'), 200, 'none at all');
    is($front->('http', 'https://one.test'), 403, 'it is taken at its word');
    is($front->('ftp', 'https://one.test'), 403, 'nonsense');
    is($front->('', 'https://one.test'), 200, 'it says nothing');
};


subtest 'requests without Origin' => sub {
    my %cookie = (Cookie => 'sid=victim');
    my $watch = $nginx->native(path => '/rt',
                               headers => { Cookie => 'sid=watch' });

    $watch->ok('join', channel => 'room:1');

    my $member = join_arg({ channel => 'room:1', presence => { x => 1 } });
    my $ask = sub {
        my ($path, %h) = @_;

        my $s = eval { Fanout::HTTP->new(port => $nginx->port)->start(
            GET => $path, headers => { Host => 'one.test', %cookie, %h }) };

        return $s ? $s->{status} : $@;
    };

    # an image on any page

    for my $site (qw( cross-site same-site )) {
        is($ask->("/rt?$_", 'Sec-Fetch-Site' => $site), 403, "$site: $_")
            for 'channel=a', 'channel=a&poll=1',
                'channel=a&poll=1&session=1', $member,
                "poll=1&session=1&$member";
        is(ask(POST => '/rt', { 'Sec-Fetch-Site' => $site,
                                'Content-Type' => 'application/json' },
               '{"id":1,"op":"ping"}')->{status}, 403, "$site: POST");
    }

    # older browsers and places without TLS have only what they lack

    for (['channel=a&poll=1&session=1', 403], [$member, 403],
         ["poll=1&session=1&$member", 403],
         ['channel=a', 200], ['channel=a&poll=1', 200])
    {
        is($ask->("/rt?$_->[0]"), $_->[1], "none: $_->[0]");
        is($ask->("/rt?$_->[0]", 'Sec-Fetch-Site' => 'none'), $_->[1],
           "a link in a mail: $_->[0]");
    }

    like($http->get("/rt?$member")->{body}, qr/X-Requested-With/,
         'and what is needed');
    is_deeply($watch->ok('members', channel => 'room:1')->{members}, [],
              'nobody became a member');

    # what no image can have

    my $path = "/rt?poll=1&session=1&$member";

    for (['Sec-Fetch-Site' => 'same-origin'],
         ['X-Requested-With' => 'XMLHttpRequest'],
         [Origin => 'http://one.test'], [Origin => 'https://one.test'],
         [Referer => 'http://one.test/page?x'],
         [Referer => 'https://one.test'])
    {
        is($ask->($path, @$_), 200, "@$_");
    }

    # what a user may have put into a page of the site

    for my $dest (qw( image iframe document script style track object )) {
        is($ask->($path, @$_, 'Sec-Fetch-Dest' => $dest), 403, "$dest, @$_")
            for ['Sec-Fetch-Site' => 'same-origin'],
                [Referer => 'http://one.test/page?x'], [Origin => 'http://one.test'];
    }

    is($ask->($path, 'Sec-Fetch-Site' => 'same-origin', 'Sec-Fetch-Dest' => 'empty'),
       200, 'a script');

    for ([Referer => 'http://evil.test/http://one.test/'],
         [Referer => 'http://one.test.evil.test/'], [Referer => 'one.test'],
         [Referer => ''], [Authorization => 'Basic eDp5'],
         [Accept => 'text/event-stream'])
    {
        is($ask->($path, @$_), 403, "@$_");
    }

    # the own origin has to be one that is let in

    is($ask->('/list?channel=a', 'Sec-Fetch-Site' => 'same-origin'), 403,
       'same-origin, of another host than those listed');
    is($ask->('/list?channel=a', 'Sec-Fetch-Site' => 'same-origin',
              Host => 'app.test'), 200, 'of one');
    is($ask->("/any?poll=1&session=1&$member",
              'Sec-Fetch-Site' => 'cross-site'), 200, '* is any page');
};


subtest 'what is told of it in the log' => sub {
    my $refused = 0;
    my $began   = time;
    my $refuse  = sub { $refused++; handshake('/rt', 'one.test',
                                              "https://evil$refused.test") };

    $refuse->() for 1 .. 100;

    my @lines = $nginx->log =~ /\[notice\] .*?(fanout refused a page.*)/g;
    my @mine  = grep { /evil\d+\.test/ } @lines;

    like($lines[0], qr/origin "[^"]+" is not allowed by "fanout_origin"/,
         'the origin and the directive');
    cmp_ok(scalar @mine, '<', $refused, 'not one for each');
    my @workers = $nginx->worker_pids;
    cmp_ok(scalar @mine, '<=', @workers * (time - $began + 2),
           'one a second, and worker');

    ok(Fanout::Nginx::wait_for(sub {
        $refuse->();
        return $nginx->log =~ /a page, and [1-9]\d* before that had no line/;
    }), 'but how many there were');
};


# any of them is looked for when a page does not work

subtest 'each refusal has a line' => sub {
    my $n = 0;

    for my $refuse (
        [ 'origin "%s" .*"fanout_origin"', sub { handshake('/rt', 'one.test', $_[0]) } ],
        [ 'origin "%s" .*"fanout_origin"', sub { handshake('/raw?channel=a', 'one.test', $_[0]) } ],
        [ 'origin "%s" .*"fanout_origin"', sub { handshake('/status', 'one.test', $_[0]) } ],
        (map { my ($method, $path, $body) = @$_;
               [ 'origin "%s" .*"fanout_origin"',
                 sub { ask($method, $path, { Origin => $_[0],
                           'Content-Type' => 'application/json' }, $body)->{status} } ] }
             [ GET => '/rt?channel=a' ], [ GET => '/rt?channel=a&poll=1' ],
             [ POST => '/rt', '{"id":1,"op":"ping"}' ], [ OPTIONS => '/rt' ]),
        [ 'origin "%s" .*"fanout_api"',
          sub { ask(GET => '/api/channels', { Origin => $_[0] })->{status} } ],
        [ 'host "%s" .*"fanout_api"',
          sub { ask(GET => '/api/channels', { Host => $_[0] =~ s{.*/}{}r })->{status} } ],
        [ 'host "%s" .*"fanout_status"',
          sub { ask(GET => '/status', { Host => $_[0] =~ s{.*/}{}r })->{status} } ])
    {
        my ($line, $try) = @$refuse;
        my $name   = 'line' . ++$n . '.test';
        my $origin = "https://$name";

        $line = sprintf $line, "(?:https://)?$name";

        my $status;
        ok(Fanout::Nginx::wait_for(sub {
            $status = $try->($origin);
            return $nginx->log =~ /\[notice\] .*fanout refused a page.*$line/;
        }), $line);
        is($status, 403, 'for what was refused');
    }
};


subtest 'a page may read why it was refused' => sub {
    my %page = (Origin => 'https://app.test');
    my %json = (%page, 'Content-Type' => 'application/json');
    my $command = sub { Fanout::JSON::encode({ id => 1, @_ }) };

    my $hold = sub {
        my $h = Fanout::HTTP->new(port => $nginx->port);
        $h->start(GET => $_[0], headers => { %page, Cookie => 'sid=u' });
        return $h;
    };

    my @held = ((map { $hold->('/worker?channel=a') } 1 .. 4),
                $hold->('/one?channel=a'));

    for ([ 'no token', POST => '/list', $command->(op => 'ping'), 403,
           'Fanout-Resume' => 'r_0' ],
         [ 'no JSON', POST => '/list', '{', 400 ],
         [ 'no body', POST => '/list', '', 400 ],
         [ 'another type', POST => '/list', '{}', 415,
           'Content-Type' => 'text/plain' ],
         [ 'forbidden', POST => '/list',
           $command->(op => 'publish', channel => 'x', data => 1), 403 ],
         [ 'a large message', POST => '/list', $command->(op => 'publish',
           channel => 'a', data => 'x' x 2000), 413 ],
         [ 'a large body', POST => '/list', 'x' x 9000, 413 ],
         [ 'a stream that is forbidden', GET => '/list?channel=x', undef,
           403 ],
         [ 'a poll that is', GET => '/list?channel=x&poll=1', undef, 403 ],
         [ 'no position', GET => '/list?channel=a&poll=1&since=z', undef,
           400 ],
         [ 'no channel', GET => '/list?poll=1', undef, 400 ],
         [ 'a body', GET => '/list?channel=a', 'x', 400 ],
         [ 'a token in the URL', GET => '/list?channel=a&resume=r_0', undef,
           400 ],
         [ 'another transport', GET => '/ws?channel=a', undef, 403 ],
         [ 'POST is not served', POST => '/ws', '{}', 403 ],
         [ 'no upgrade', GET => '/list', undef, 426 ],
         [ 'another method', PUT => '/list', 'x', 405 ],
         [ 'a user that is none', GET => '/list?channel=a', undef, 400,
           Cookie => "sid=a\tb" ],
         [ 'sessions of the user', GET => '/one?channel=a&poll=1&session=1',
           undef, '429', Cookie => 'sid=u' ],
         [ 'a stream of the user', GET => '/one?channel=a',
           undef, '200', Cookie => 'sid=u' ])
    {
        my ($name, $method, $path, $body, $status, %more) = @$_;

        my $r = ask($method, $path, { %json, %more }, $body);
        my $h = $r->{headers};

        like($r->{status}, qr/^$status$/, $name);
        is($h->{'access-control-allow-origin'}, 'https://app.test',
           "$name: may be read");
        is($h->{'access-control-allow-credentials'}, 'true',
           "$name: with cookies");
        like($h->{vary} // '', qr/\bOrigin\b/, "$name: Vary");

        $r = ask($method, $path, { %json, %more,
                                   Origin => 'https://evil.test' }, $body);
        is($r->{status}, 403, "$name: a stranger is refused")
            if $status !~ /^(405|426)$/ && $path !~ /^.ws/
            && $name ne 'a body';
        is($r->{headers}{'access-control-allow-origin'}, undef,
           "$name: and may not read it");
    }

    # why, by each way, and when to come again

    my $full = $nginx->native(path => '/one', welcome => 0,
                              headers => { Cookie => 'sid=u' });
    is($full->next_push->{closing}{code}, 'too_many', 'WebSocket: why');
    is($full->wait_close, 4429, 'closed');

    my $r = ask(GET => '/one?channel=a', { %page, Cookie => 'sid=u' });
    is($r->{status}, 200, 'EventSource gives up for good by anything else');
    like($r->{headers}{'content-type'}, qr{^text/event-stream}, 'a stream');
    like($r->{body}, qr/^retry: \d+\ndata: (\{.*\})\n\n\z/, 'that ends');

    my ($said) = $r->{body} =~ /data: (.*)/;
    my $closing = Fanout::JSON::decode($said)->{closing};
    is($closing->{code}, 'too_many', 'stream: why');
    like($closing->{message}, qr/fanout_sessions_per_user/, 'which limit');
    is($closing->{status}, 4429, 'as by WebSocket');

    $r = ask(GET => '/one?channel=a&poll=1&session=1',
             { Cookie => 'sid=u', 'X-Requested-With' => 'x' });
    is($r->{status}, 429, 'a poll');
    is($r->json->{error}{code}, 'too_many', 'poll: why');
    like($r->json->{error}{message}, qr/fanout_sessions_per_user/, 'which');
    like($r->{headers}{'retry-after'}, qr/^[23]$/, 'and when to come again');

    $_->disconnect for @held;
};


subtest 'any origin is one without cookies' => sub {
    my $r = ask(GET => '/any?channel=a&poll=1',
                { Origin => 'https://evil.test' });

    is($r->{status}, 200, '*');
    is($r->{headers}{'access-control-allow-origin'}, '*', 'for all');
    is($r->{headers}{'access-control-allow-credentials'}, undef,
       'but not what depends on cookies');

    $r = ask(GET => '/any?channel=a&poll=1', { Origin => 'null' });
    is($r->{headers}{'access-control-allow-origin'}, '*', 'null');

    $r = ask(GET => '/both?channel=a&poll=1',
             { Origin => 'https://app.test' });
    is($r->{headers}{'access-control-allow-origin'}, 'https://app.test',
       'one that is named beside *');
    is($r->{headers}{'access-control-allow-credentials'}, 'true',
       'with cookies');

    $r = ask(GET => '/any?channel=a&poll=1', {});
    is($r->{headers}{'access-control-allow-origin'}, undef, 'no page');
    is($r->{headers}{vary}, 'Origin', 'another for another');
};


subtest 'what a page may ask before' => sub {
    my $ask = sub {
        my ($headers, %more) = @_;

        return ask(OPTIONS => '/list', {
            Origin => 'https://app.test', %more,
            'Access-Control-Request-Method' => 'POST',
            defined $headers
            ? ('Access-Control-Request-Headers' => $headers) : () });
    };

    my $all = 'cache-control,x-requested-with,traceparent,baggage, '
            . 'sentry-trace,content-type';
    my $r = $ask->($all);

    is($r->{status}, 204, 'yes');
    is($r->{headers}{'access-control-allow-headers'}, $all, 'to all of it');
    is($r->{headers}{'access-control-allow-methods'}, 'GET, POST', 'methods');
    is($r->{headers}{'access-control-allow-origin'}, 'https://app.test',
       'it is let in');

    for my $bad (undef, 'a b;c', "x: y", 'x"y', "a\xe9", 'x' x 2049) {
        like($ask->($bad)->{headers}{'access-control-allow-headers'},
             qr/^Content-Type, .*Fanout-Resume/,
             'a fixed list: ' . substr $bad // 'none', 0, 10);
    }

    $r = $ask->($all, Origin => 'https://evil.test');
    is($r->{status}, 403, 'not to a stranger');
    is($r->{headers}{'access-control-allow-headers'}, undef, 'nothing');
};


subtest 'the HTTP API' => sub {
    my %evil = (Origin => 'https://evil.test',
                'Sec-Fetch-Site' => 'cross-site');
    my $messages = '/api/channels/a/messages';

    ask(POST => $messages, { 'Content-Type' => $_ }, '1')->{status} == 201
        or fail("without Origin: $_")
        for 'application/json', 'text/plain',
            'application/x-www-form-urlencoded';

    for ([ POST => $messages, 'text/plain', 'x' ],
         [ POST => $messages, 'application/x-www-form-urlencoded', '{}' ],
         [ POST => '/api/batch', 'text/plain',
           '[{"op":"purge","channel":"a"}]' ],
         [ POST => '/api/broadcast', 'text/plain',
           '{"channels":["a"],"data":1}' ],
         [ DELETE => '/api/channels/a', 'text/plain' ],
         [ GET => '/api/channels', 'text/plain' ],
         [ OPTIONS => $messages, 'text/plain' ])
    {
        my ($method, $path, $type, $body) = @$_;

        for my $from ([ Origin => 'https://evil.test' ], [ Origin => 'null' ],
                      [ 'Sec-Fetch-Site' => 'cross-site' ],
                      [ 'Sec-Fetch-Site' => 'same-site' ])
        {
            my $r = ask($method, $path, { @$from, 'Content-Type' => $type },
                        $body);
            is($r->{status}, 403, "$method $path: @$from");
            like($r->json->{error}{message}, qr/origin.*fanout_api/,
                 'and why');
            is($r->{headers}{'access-control-allow-origin'}, undef,
               'unread');
        }
    }

    is(scalar @{ $http->get($messages)->json->{messages} }, 3,
       'nothing was done');

    is(ask(POST => $messages, { Origin => $_ }, '1')->{status}, 201,
       "the own page: $_") for 'http://one.test', 'https://one.test';
    is(ask(GET => $messages, { 'Sec-Fetch-Site' => $_ })->{status}, 200, $_)
        for qw( same-origin none );

    my $port = $nginx->port;

    for my $host ("localhost:$port", 'localhost', 'x.localhost',
                  "127.0.0.1:$port", '127.0.0.1', '10.1.2.3', '[::1]:80',
                  'one.test', 'ONE.test:8080', 'x.two.test', 'three.test',
                  'x.three.test', 'four.com', 'five5.test')
    {
        is(ask(GET => '/api/channels', { Host => $host })->{status}, 200,
           "Host: $host");
    }

    for my $host ("rebind.evil.test:$port", 'evil.test', 'two.test',
                  'xthree.test', 'four', 'five.test', 'notlocalhost',
                  'one.test.evil.test', '127.0.0.1.evil.test', '1.2.3',
                  '0x7f000001', 'one.test@evil')
    {
        my $r = ask(GET => '/api/channels', { Host => $host });

        next if $r->{status} == 400 && $host =~ /@/;
        is($r->{status}, 403, "Host: $host");
        like($r->json->{error}{message}, qr/host.*server_name/, 'and why');
    }

    is($nginx->http->raw("GET /api/channels HTTP/1.0\r\n\r\n")->{status}, 200,
       'no Host: no browser');
    is(ask(GET => '/if/channels?x=1', { Host => 'if.test' })->{status}, 200,
       'inside an if');
    is(ask(GET => '/if/channels?x=1', { Host => 'evil.test' })->{status}, 403,
       'and others are refused there');

    # what is allowed

    is(ask(POST => '/open/channels/a/messages', { Host => $_ }, '1'
       )->{status}, 201, "host=: $_") for 'api.test', 'x.api.test:99';
    is(ask(POST => '/open/channels/a/messages', { Host => $_ }, '1'
       )->{status}, 403, "host=: $_") for 'xapi.test', '.api.test';

    my $r = ask(DELETE => '/open/channels/zzz',
                { Origin => 'https://console.test' });
    is($r->{status}, 404, 'origin=');
    is($r->{headers}{'access-control-allow-origin'}, 'https://console.test',
       'which may read it');

    $r = ask(OPTIONS => '/open/channels/a', {
        Origin => 'https://console.test',
        'Access-Control-Request-Method' => 'DELETE',
        'Access-Control-Request-Headers' => 'x-csrf' });
    is($r->{status}, 204, 'and ask before');
    like($r->{headers}{'access-control-allow-methods'}, qr/DELETE/, 'for');
    is($r->{headers}{'access-control-allow-headers'}, 'x-csrf', 'with');

    $r = ask(POST => '/wide/channels/a/messages',
             { %evil, Host => 'evil.test' }, '1');
    is($r->{status}, 201, '* is anybody');
    is($r->{headers}{'access-control-allow-origin'}, '*', 'without cookies');
};


subtest 'the status' => sub {
    my $port = $nginx->port;
    my $watch = sub {
        my $ws = $nginx->ws(expect => undef, path => '/status', headers => {
            Host => $_[0], Origin => "http://$_[0]" });
        my $status = $ws->status;
        $ws->cut;
        return $status;
    };

    for my $host ("localhost:$port", '127.0.0.1', '10.1.2.3', '[::1]:80',
                  'one.test', 'x.two.test', 'four.com', 'five5.test')
    {
        is(ask(GET => '/status', { Host => $host })->{status}, 200, "Host: $host");
        is($watch->($host), 101, 'live');
    }

    for my $host ("rebind.evil.test:$port", 'evil.test', 'two.test',
                  'notlocalhost', '127.0.0.1.evil.test')
    {
        for my $format ('', map { "?format=$_" } qw( json html prometheus
                                                     openmetrics health ))
        {
            my $r = ask(GET => "/status$format", { Host => $host });

            is($r->{status}, 403, "Host: $host$format");
            like($r->json->{error}{message}, qr/host.*server_name.*fanout_status/,
                 'and why');
        }

        is(ask(HEAD => '/status', { Host => $host })->{status}, 403, 'HEAD');
        is($watch->($host), 403, 'nor live');
    }

    is($nginx->http->raw("GET /status HTTP/1.0\r\n\r\n")->{status}, 200,
       'no Host: no browser');

    for ([ '/seen/', 'seen.test' ], [ '/seen/?x=1', 'seen.test' ],
         [ '/seen/in', 'in.test' ])
    {
        my ($path, $host) = @$_;

        is(ask(GET => $path, { Host => $host })->{status}, 200, "host= of $path");
        is(ask(GET => $path, { Host => "x.$host" })->{status}, 403, 'and no other');
    }

    is(ask(GET => '/seen/in', { Host => 'seen.test' })->{status}, 403,
       'of its own location');
};
