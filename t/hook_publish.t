#!/usr/bin/env perl

# fanout_hook ... publish. If this fails, what a backend refused is published
# nevertheless, or what it allowed is lost, changed, doubled or out of order; or
# a backend that is slow, dead or mad takes NGINX with it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw( encode_base64 );

use Fanout::HookBackend;
use Fanout::JSON;
use Fanout::Nginx;


my $backend = Fanout::HookBackend->start;
my ($true, $false) = (Fanout::JSON::true, Fanout::JSON::false);


# Locations that are something else than a proxy, each with a zone that asks
# there: what becomes of a publish.

my @places = (
    [ nothing    => 'ok',          'return 204;' ],
    [ empty      => 'ok',          'return 200;' ],
    [ created    => 'ok',          'return 201 "{\"publishes\":[{}]}";' ],
    [ verdict    => 'refused',
      'return 200 "{\"publishes\":[{\"allow\":false}]}";' ],
    [ forbidden  => 'hook_failed', 'return 403;' ],
    [ closed     => 'hook_failed', 'return 444;' ],
    [ moved      => 'hook_failed', 'return 302 /elsewhere;' ],
    [ text       => 'hook_failed', 'return 200 "ok";' ],
    [ missing    => 'hook_failed', '' ],
    [ denied     => 'hook_failed', 'deny all; proxy_pass http://hooks;' ],
    [ unix       => 'ok',
      'allow unix:; deny all; proxy_pass http://hooks/x;' ],
    [ basic      => 'hook_failed',
      'auth_basic x; auth_basic_user_file %%DIR%%/none; proxy_pass http://hooks;'
    ],
    [ rewritten  => 'ok',          'rewrite ^ /hooks/plain last;' ],
    [ asked      => 'ok',
      'auth_request /yes; proxy_pass http://hooks;' ],
    [ asked_no   => 'hook_failed',
      'auth_request /no; proxy_pass http://hooks;' ],
    [ mirrored   => 'ok',          'mirror /mirror; proxy_pass http://hooks;' ],
    [ lingering  => 'ok',
      'lingering_close always; proxy_pass http://hooks;' ],
    [ unbuffered => 'ok',
      'proxy_request_buffering off; proxy_buffering off;
       proxy_http_version 1.1; proxy_pass http://hooks;' ],
    [ small      => 'hook_failed',
      'client_max_body_size 10; proxy_pass http://hooks;' ],
    [ fallback   => 'ok',
      'proxy_pass http://127.0.0.1:%%PORT9%%; error_page 502 =204 @none;' ],
    [ unreached  => 'hook_failed',
      'proxy_pass http://127.0.0.1:%%PORT9%%; error_page 502 /oops.html;' ],
    [ file       => 'ok',          'error_page 405 =200 $uri;' ],
    [ zipped     => 'ok',
      'gzip on; gzip_types *; gzip_min_length 1;
       proxy_set_header Accept-Encoding gzip; proxy_pass http://hooks;' ],
    [ chunked    => 'ok',          'sub_filter x y; sub_filter_once off;
       sub_filter_types *; proxy_pass http://hooks;' ],
    [ api        => 'hook_failed', 'fanout_api app;' ],
    [ realtime   => 'hook_failed', 'fanout app;' ],
);

# and those where it is not over in time

my @slow = (
    [ delayed => 'limit_req zone=slow burst=5; proxy_pass http://hooks;' ],
    [ ignoring => 'proxy_ignore_client_abort on; proxy_pass http://hooks;' ],
    [ asking  => 'auth_request /hang; proxy_pass http://hooks;' ],
    [ copied  => 'mirror /hang; proxy_pass http://hooks;' ],
    [ storing => 'proxy_store on; proxy_pass http://hooks;' ],
);

my ($zones, $locations, $hooks) = ('', '', '');

for my $place (@slow) {
    my ($name, $text) = @$place;

    $zones     .= "fanout_zone p_$name 2m slots=8;\n";
    $hooks     .= "fanout_hook p_$name /place/$name publish timeout=400ms;\n";
    $locations .= "location = /rt/$name { fanout p_$name;"
                . " fanout_permit all *; }\n"
                . "location /place/$name { internal; $text }\n";
}

for my $place (@places) {
    my ($name, undef, $text) = @$place;

    $zones     .= "fanout_zone p_$name 2m slots=8;\n";
    $hooks     .= "fanout_hook p_$name /place/$name publish timeout=20s;\n";
    $locations .= "location = /rt/$name { fanout p_$name;"
                . " fanout_permit all *; }\n"
                . "location /place/$name { internal; $text }\n";
}

my $nginx = Fanout::Nginx->start(
    http => <<"END",
        fanout_budget off;
        fanout_rate   off;
        fanout_timeout 10m;     # some clients are not read for minutes

        log_format hook '\$remote_addr \$request_method \$uri \$status'
                        ' \$http_user_agent';
        limit_req_zone \$uri zone=once:1m rate=1r/m;
        limit_req_zone \$uri zone=slow:1m rate=1r/m;

        upstream hooks {
            server 127.0.0.1:@{[ $backend->port ]};
            keepalive 8;
        }

        fanout_zone app 32m;
        fanout_channel app off:* hooks=off history=1000;
        fanout_channel app crew:* presence=on publish=members;
        fanout_channel app brief:* presence=on linger=1s history=100;
        fanout_channel app * hooks=on history=1000;

        fanout_zone lax 4m;
        fanout_zone tight 4m;
        fanout_zone seldom 4m;
        fanout_zone full 4m;
        fanout_zone single 4m;
        fanout_channel single * history=1000;
        fanout_channel lax lost history=1000;
        $zones
END
    server => <<"END",
        fanout_user \$http_x_user;
        fanout_permit all *;

        fanout_hook app /hooks/app?zone=app publish timeout=10s;
        fanout_hook lax /hooks/lax publish timeout=1s fail=pass;
        fanout_hook tight /hooks/tight publish timeout=1s limit=1000
                    queue=4 batch=2 calls=1;
        fanout_hook seldom /hooks/seldom publish;
        fanout_hook full /hooks/full publish timeout=60s queue=1;
        fanout_hook single /hooks/single publish timeout=10s calls=1;
        $hooks

        location /realtime { fanout app; }
        location /pinged {
            fanout app; fanout_ping 200ms; fanout_timeout 200ms;
        }
        location /raw { fanout app; fanout_dialect raw; }
        location /lax { fanout lax; }
        location /lax_raw { fanout lax; fanout_dialect raw; }
        location /tight { fanout tight; }
        location /seldom { fanout seldom; }
        location /full { fanout full; }
        location /single { fanout single; }
        location /bulky { fanout app; fanout_message_size 2m; }
        location /bulky_lax { fanout lax; fanout_message_size 2m; }
        location /api/ { fanout_api app; }
        location /status { fanout_status app; }

        location /hooks/ {
            internal;
            proxy_pass http://hooks;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            access_log %%DIR%%/hook.log hook;

            location /hooks/seldom {
                limit_req zone=once;
                proxy_pass http://hooks;
            }
        }

        location = /yes { internal; return 204; }
        location = /no { internal; return 403; }
        location = /hang { internal; proxy_pass http://hooks/hang; }
        location = /mirror { internal; proxy_pass http://hooks/mirror; }
        location \@none { return 204; }
        $locations
        location = /stub { stub_status; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;

sub client {
    my ($worker, $user, %o) = @_;

    return $nginx->native(worker => $worker, %o,
                          $user ? (headers => { 'X-User' => $user }) : ());
}

sub publish {
    my ($ws, $channel, $data, %more) = @_;

    return $ws->cmd('publish', channel => $channel, data => $data, %more);
}

sub code { $_[0]{error} ? $_[0]{error}{code} : 'ok' }

sub counters {
    my $all = Fanout::JSON::decode($http->get('/status')->{body});

    return $all->{counters};
}

sub stub {
    my ($active, $reading, $writing) = $http->get('/stub')->{body}
        =~ /connections: (\d+).*Reading: (\d+) Writing: (\d+)/s;

    return "$active active, $reading read, $writing written";
}

sub history {
    my ($ws, $channel) = @_;

    return $ws->ok('history', channel => $channel)->{messages};
}

sub data_of { [ map { $_->{data} } @{ history(@_) } ] }

# behaves in another way, for as long as the sub takes

sub while_it {
    my ($steps, $sub) = @_;

    $backend->does(@$steps);
    $sub->();
    $backend->does;
}

# one that dies must not take the others with it

sub part {
    my ($name, $sub) = @_;

    subtest $name => sub {
        eval { $sub->(); 1 } or fail("died: $@");
        $backend->does;
    };
}

# What is the same for a while: of what has just begun or ended, not all is
# counted at once.

sub steady {
    my ($what) = @_;
    my ($last, $same) = ('', 0);

    wait_for(sub {
        my $now = $what->();

        $same = $now eq $last ? $same + 1 : 0;
        $last = $now;

        return $same == 20;
    });

    return $last;
}

# what a worker has open, without what may be with either

sub steady_fds {
    my ($pid) = @_;

    $http->disconnect;

    return steady(sub { $nginx->fds($pid) });
}


my $ann   = client($one, 'ann');
my $bob   = client($two, 'bob');
my $idle  = steady(\&stub);
my %fds;

# of requests and connections that are none any more

sub settles {
    my $now;

    ok(wait_for(sub { ($now = stub()) eq $idle }), 'stub_status')
        or diag("$now, not $idle");
}


part 'what is asked' => sub {
    $_->ok('join', channel => 'asked') for $ann, $bob;

    my $ok = $ann->ok('publish', channel => 'asked', event => 'msg',
                      data => { b => 1, a => [ undef ] }, key => 'k',
                      meta => { trace => 'x' });

    is_deeply([ sort keys %$ok ], [qw( epoch offset time )], 'the reply');

    my ($raw)  = $backend->requests;
    my ($call) = $backend->calls;

    like($raw, qr{^POST /hooks/app\?zone=app HTTP/1\.1\r\n}, 'a POST');
    like($raw, qr{^Content-Type: application/json\r$}m, 'of JSON');
    like($raw, qr{^User-Agent: nginx-fanout/[\d.]+\r$}m, 'by whom');
    like($call->{publishes}[0]{id}, qr/^[0-9a-f]+$/, 'an id');

    my $from = { client => $ann->client, user => 'ann' };

    is_deeply($call, { zone => 'app', publishes => [ {
        id => $call->{publishes}[0]{id}, channel => 'asked',
        messages => [ { event => 'msg', data => { b => 1, a => [ undef ] },
                        key => 'k', meta => { trace => 'x' },
                        from => $from } ],
    } ] }, 'a message with all there can be');

    is($bob->next_push->{data}{b}, 1, 'it arrives');

    my $nobody = client($two);

    $backend->forget;
    publish($nobody, 'asked', 0);
    publish($nobody, 'asked', encode_base64("\0\xff", ''), enc => 'base64');
    $nobody->ok('publish', channel => 'asked',
                messages => [ { data => 'a' }, { data => 'b', key => 'x' } ]);
    publish($nobody, 'asked', 'for ann', to => { client => $ann->client });
    publish($nobody, 'asked', 'for "bob"', to => { user => 'bob' });

    my $raw_ws = $nginx->ws(path => '/raw?channel=asked', worker => $one);
    my $raw_client;

    $raw_ws->send_text("quo\"te \xc3\xa9");
    $raw_ws->send_binary("\0\1");
    $backend->wait_requests(7);

    my @asked = $backend->asked;

    my %ids = map { $_->{id} => 1 } @asked;
    is(keys %ids, 7, 'ids differ');

    $raw_client = $asked[5]{messages}[0]{from}{client};
    $from = { client => $nobody->client };

    is_deeply([ map { $_->{messages} } @asked ], [
        [ { data => 0, from => $from } ],
        [ { data => 'AP8=', enc => 'base64', from => $from } ],
        [ { data => 'a', from => $from },
          { data => 'b', key => 'x', from => $from } ],
        [ { data => 'for ann', from => $from,
            to => { client => $ann->client } } ],
        [ { data => 'for "bob"', from => $from, to => { user => 'bob' } } ],
        [ { data => "quo\"te \x{e9}", from => { client => $raw_client } } ],
        [ { data => 'AAE=', enc => 'base64',
            from => { client => $raw_client } } ],
    ], 'others');

    ok($ann->next_where(sub { ($_[0]{data} || '') eq 'for ann' }),
       'a direct message arrives');
    like($raw_client, qr/^c_[0-9a-f]{16}$/, 'raw has a client');

    for my $ws ($ann, $bob) {
        $ws->next_where(sub { ($_[0]{data} || '') eq 'AAE=' });
        $ws->drain;
        $ws->ok('leave', channel => 'asked');
    }

    $_->disconnect for $raw_ws, $nobody;
};


part 'keepalive' => sub {
    $backend->forget;
    publish($ann, 'alive', $_) for 1 .. 20;

    is($backend->asked, 20, 'each is asked for');
    cmp_ok($backend->served, '<=', 4, 'by connections that stay open');
};


part 'who is not asked for' => sub {
    $backend->forget;

    is(code(publish($ann, 'off:a', { deny => {} })), 'ok', 'hooks=off');
    is($http->post('/api/channels/asked/messages', '{deny":{}}')
       ->{status}, 201, 'the HTTP API');
    is(code($ann->cmd('publish', channel => 'asked')), 'bad_request',
       'nonsense');
    is(code(publish($ann, 'asked', 1, meta => { m => 'x' x 1100 })),
       'too_large', 'too much');
    is(code(publish($ann, 'crew:a', 1)), 'forbidden', 'members only');
    is($backend->asked, 0, 'nobody asked');

    $ann->ok('join', channel => 'crew:a', presence => {});
    is(code(publish($ann, 'crew:a', { deny => {} })), 'refused', 'a member');
    is($backend->asked, 1, 'asked');
};


part 'let through' => sub {
    my @answers = (
        response(204), response(200), response(201, [], '{"publishes":[{}]}'),
        response(200, [], '{"publishes":[{"allow":true}]}'),
        response(200, [], " { \"publishes\" :\n[ { } ] }\n"),
        response(200, [], "\xef\xbb\xbf{\"publishes\":[{}]}"),
        response(200, [ [ 'Transfer-Encoding' => 'chunked' ] ],
                 "5\r\n{\"pub\r\n10\r\nlishes\":[{ }]   \r\n1\r\n}\r\n0\r\n\r\n"),
    );

    for my $answer (@answers) {
        while_it([ send => $answer ], sub {
            is(code(publish($ann, 'let', 1)), 'ok',
               substr $answer =~ s/\r\n/ /gr, 0, 60);
        });
    }

    is(@{ history($bob, 'let') }, @answers, 'all are there');
};


part 'refused' => sub {
    $bob->ok('join', channel => 'no');

    my $reply = publish($ann, 'no', {
        deny => { message => "not \"now\" \x{e9}", details => { a => [ 1 ] } }
    });

    is_deeply($reply->{error}, {
        code => 'refused', message => "not \"now\" \x{e9}",
        data => { a => [ 1 ] }
    }, 'with what the backend says');

    is_deeply(publish($ann, 'no', { deny => $_->[0] })->{error}, {
        code => 'refused',
        message => 'the backend did not let it through', %{ $_->[1] }
    }, Fanout::JSON::encode($_->[0])) for
        [ {}, {} ],
        [ { details => {} }, { data => {} } ],
        [ { message => 1, details => 'x' }, {} ],
        [ { message => '', details => [] }, {} ],
        [ { messages => [ { data => 1 } ] }, {} ],
        [ { details => { x => 'y' x 1024 } }, {} ];

    is(publish($ann, 'no', { deny => { message => 'm' x 255 } })
       ->{error}{message}, 'm' x 255, 'a long text');

    $ann->send_json({ op => 'publish', channel => 'no',
                      data => { deny => { message => 'x' } } });
    is_deeply($ann->next_push, {
        op => 'publish', at => 0,
        error => { code => 'refused', message => 'x' }
    }, 'without an id');

    is($ann->ok('publish', channel => 'no', data => 'y')->{offset}, 1,
       'it has taken no offset');
    is($bob->next_push->{data}, 'y', 'nothing of it is seen');
};


part 'changed' => sub {
    my @kept = (from => { client => $ann->client, user => 'ann' });

    $bob->ok('join', channel => 'new');

    my $ok = $ann->ok('publish', channel => 'new', event => 'was',
                      meta => { m => 1 }, key => 'key', data => {
        change => [ { event => "is \x{e9}", data => { x => [ 1, '2' ] } } ]
    });

    is_deeply($bob->next_push, {
        channel => 'new', offset => $ok->{offset}, time => $ok->{time},
        event => "is \x{e9}", key => 'key', data => { x => [ 1, '2' ] }, @kept
    }, 'event and data; the key and the sender are kept');

    $ok = $ann->ok('publish', channel => 'new', key => 'many', data => {
        change => [ { data => undef }, { event => 'b', data => 'AP8=',
                    enc => 'base64' }, { data => 'c' } ]
    });

    my $first = $ok->{offset};

    is_deeply([ map { delete $_->{time}; $_ }
                map { $bob->next_push } 1 .. 3 ], [
        { channel => 'new', offset => 2, data => undef, key => 'many', @kept },
        { channel => 'new', offset => 3, event => 'b', data => 'AP8=',
          enc => 'base64', @kept },
        { channel => 'new', offset => 4, data => 'c', @kept },
    ], 'to several');
    cmp_ok($first, '>=', 2, 'the reply names one of them');

    $ann->ok('publish', channel => 'new', key => 'mine', meta => { m => 2 }, data => {
        change => [ { data => 'sent back', key => 'other', meta => { m => 3 },
                      from => { user => 'eve' }, to => { user => 'eve' } } ]
    });
    is_deeply([ map { delete @$_{qw( time offset )}; $_ } $bob->next_push ], [
        { channel => 'new', data => 'sent back', key => 'mine', @kept } ],
        'what it was asked with may come back, and changes nothing');

    $ok = $ann->ok('publish', channel => 'new', messages => [
        { data => { change => [ { data => 'one' } ] } }, { data => 'two' }
    ]);
    is($bob->next_push->{data}, 'one', 'several to one');

    $ok = $ann->ok('publish', channel => 'new', data => {
        change => [ map { { data => $_ } } 1 .. 64 ] });
    is($bob->next_push->{data}, $_, "one of 64: $_") for 1 .. 64;

    $ok = $ann->ok('publish', channel => 'new', to => { user => 'bob' },
                   data => { change => [ { data => 'psst' } ] });
    is_deeply([ map { $ok->{$_} } qw( delivered pending ) ], [ 1, 0 ],
              'direct: the reply');
    my $direct = $bob->next_push;
    is($direct->{data}, 'psst', 'direct: changed');
    is_deeply($direct->{to}, { user => 'bob' }, 'for the same');
    is(scalar(my @others = $ann->drain), 0, 'nobody else has it');

    my $raw = $nginx->ws(path => '/raw?channel=new', worker => $two);

    $raw->send_text('not JSON');
    is($raw->recv_text, 'not JSON', 'raw');
    is($bob->next_push->{data}, 'not JSON', 'raw to native');
    $raw->disconnect;

    my @bad = (
        [ 'none'         => [] ],
        [ 'no array'     => { data => 1 } ],
        [ 'no object'    => [ 1 ] ],
        [ 'no data'      => [ { event => 'x' } ] ],
        [ 'too many'     => [ map { { data => 1 } } 1 .. 65 ] ],
        [ 'no event'     => [ { data => 1, event => '' } ] ],
        [ 'event no text' => [ { data => 1, event => 5 } ] ],
        [ 'long event'   => [ { data => 1, event => 'e' x 129 } ] ],
        [ 'control'      => [ { data => 1, event => "a\nb" } ] ],
        [ 'no base64'    => [ { data => '*', enc => 'base64' } ] ],
        [ 'base64 of a number' => [ { data => 5, enc => 'base64' } ] ],
        [ 'other enc'    => [ { data => 'AP8=', enc => 'hex' } ] ],
        [ 'too large'    => [ { data => 'x' x 65_600 } ] ],
        [ 'one is bad'   => [ { data => 1 }, { } ] ],
    );

    for my $bad (@bad) {
        while_it([ send => response(200, [], Fanout::JSON::encode({
            publishes => [ { messages => $bad->[1] } ] })) ], sub {
                is(code(publish($ann, 'new', 1)), 'hook_failed', $bad->[0]);
        });
    }

    is(code(publish($ann, 'new', { change => [ { data => 1 }, { data => 2 } ] },
                    to => { user => 'bob' })), 'hook_failed',
       'two for one recipient');

    is(code(publish($ann, 'new', 'after')), 'ok', 'it goes on');
    is($bob->next_push->{data}, 'after', 'nothing came of them');
};


part 'keys' => sub {
    $backend->forget;

    my @ok = map { $ann->ok('publish', channel => 'keys', key => 'k',
                            data => $_) } 1 .. 3;

    is_deeply([ map { $_->{duplicate} ? 1 : 0 } @ok ], [ 0, 1, 1 ],
              'duplicates are told');
    is_deeply([ map { $_->{offset} } @ok ], [ 1, 1, 1 ], 'where it is');
    is($backend->asked, 3, 'each is asked for');
    is_deeply(data_of($bob, 'keys'), [ 1 ], 'one is appended');

    publish($ann, 'keys', { deny => {} }, key => 'again');
    is(code(publish($ann, 'keys', 2, key => 'again')), 'ok',
       'what was refused has not used the key');
    is(@{ history($bob, 'keys') }, 2, 'so it is published');
};


part 'if' => sub {
    my $ok = $ann->ok('publish', channel => 'if', data => 1);
    my $at = { epoch => $ok->{epoch}, offset => 1 };

    $ok = $ann->ok('publish', channel => 'if', data => 2, if => $at);
    is($ok->{offset}, 2, 'it holds');

    my $error = publish($ann, 'if', 3, if => $at)->{error};
    is($error->{code}, 'conflict', 'it does not');
    is_deeply($error->{data}, { epoch => $ok->{epoch}, offset => 2 },
              'where it is');

    # it is looked at when the answer is there

    while_it([ wait => 'if', answer => 1 ], sub {
        $backend->forget;
        my $id = $ann->send_cmd('publish', channel => 'if', data => 4,
                                if => { %$at, offset => 2 });
        $backend->wait_calls(1);
        $http->post('/api/channels/if/messages', '"between"');
        $backend->let('if');
        is(code($ann->reply($id)), 'conflict', 'not any more');
    });
};


part 'echo, store, live' => sub {
    $_->ok('join', channel => 'opts') for $ann, $bob;

    $ann->ok('publish', channel => 'opts', data => 'no echo', echo => $false);
    $ann->ok('publish', channel => 'opts', data => {
        change => [ { data => 'changed' } ] }, echo => $false,
        store => $false);
    $ann->ok('publish', channel => 'opts', data => 'all');

    is_deeply([ map { $bob->next_push->{data} } 1 .. 3 ],
              [ 'no echo', 'changed', 'all' ], 'others');
    is($ann->next_push->{data}, 'all', 'the sender');
    is_deeply(data_of($bob, 'opts'), [ 'no echo', 'all' ], 'what is kept');

    is(code(publish($ann, 'opts', 1, to => { user => 'nobody' })),
       'recipient_offline', 'nobody there');

    $_->ok('leave', channel => 'opts') for $ann, $bob;
};


part 'commands wait for it' => sub {
    $ann->ok('join', channel => 'order');

    my @replies = $ann->batch(
        { op => 'ping' },
        { op => 'publish', channel => 'order', data => 1 },
        { op => 'history', channel => 'order' },
        { op => 'publish', channel => 'order', data => { deny => {} } },
        { op => 'publish', channel => 'off:order', data => 2 },
        { op => 'history', channel => 'order' },
    );

    is_deeply([ map { code($_) } @replies ],
              [qw( ok ok ok refused ok ok )], 'an array');
    is(@{ $replies[2]{ok}{messages} }, 1, 'what follows sees it');
    is($ann->next_push->{data}, 1, 'the echo');

    $ann->send_json([
        { op => 'ping' },
        { op => 'publish', channel => 'order', data => { deny => {} } },
        { op => 'publish', channel => 'order', data => 'then' },
        { op => 'nope' },
    ]);
    my @errors = map { $ann->next_push } 1 .. 3;
    is_deeply([ map { [ @$_{qw( at op )} ] } grep { $_->{error} } @errors ],
              [ [ 1, 'publish' ], [ 3, 'nope' ] ],
              'errors say where in the array they are');
    is_deeply([ map { $_->{data} } grep { !$_->{error} } @errors ],
              [ 'then' ], 'and the echo');

    while_it([ wait => 'order', answer => 1 ], sub {
        $backend->forget;

        my $id = $ann->send_cmd('publish', channel => 'order', data => 'a');
        my $ping = $ann->send_cmd('ping');
        my $leave = $ann->send_cmd('leave', channel => 'order');
        my $again = $ann->send_cmd('publish', channel => 'order',
                                   data => 'b');

        $backend->wait_calls(1);
        $http->post('/api/channels/order/messages', '"other"');

        is($ann->next_push->{data}, 'other', 'others are heard meanwhile');
        ok(!$ann->reply($ping, 0.2), 'a ping behind it waits');

        $backend->let('order');
        is(code($ann->reply($_)), 'ok', 'done') for $id, $ping, $leave,
                                                     $again;
    });

    is_deeply([ map { $_->{data} } $ann->drain ], [ 'a' ],
              'left before the second');
};


part 'order' => sub {
    # four of a user, so that there is something to go together

    my @pubs = map { client($_ % 2 ? $one : $two, 'u' . $_ % 3) } 1 .. 12;
    my @subs = map { client($_) } $one, $two;
    my ($messages, $channels) = (15, 3);

    for my $sub (@subs) {
        $sub->ok('join', channel => "many:$_") for 1 .. $channels;
    }

    while_it([ random => 0.03, answer => 1 ], sub {
        $backend->forget;

        for my $n (1 .. $messages) {
            for my $i (0 .. $#pubs) {
                my $channel = 'many:' . (1 + ($i + $n) % $channels);
                $pubs[$i]->send_json({
                    op => 'publish', channel => $channel, data => {
                        by => $i, n => $n, $n % 5 ? () : (deny => {}),
                        $n % 7 ? () : (change => [
                            map { { data => { by => $i, n => "$n.$_" } } }
                            1, 2 ]),
                    }
                });
            }
        }

        my @want;

        for my $n (grep { $_ % 5 } 1 .. $messages) {
            push @want, $n % 7 ? $n : map { "$n.$_" } 1, 2;
        }

        my @streams;

        for my $sub (@subs) {
            my (%of, @stream);

            for (1 .. @want * @pubs) {
                my $push = $sub->next_push(60) or last;
                push @{ $of{$push->{data}{by}} }, $push->{data}{n};
                push @stream, "$push->{channel} $push->{offset}"
                            . " $push->{data}{by} $push->{data}{n}";
            }

            is_deeply(\%of, { map { $_ => \@want } 0 .. $#pubs },
                      'all, those of each publisher in their order');
            push @streams, [ sort @stream ];
        }

        is_deeply($streams[0], $streams[1], 'the same for all');

        # the last of each publisher is refused: no subscriber hears of it

        my $asked;

        wait_for(sub { ($asked = $backend->asked) >= $messages * @pubs });
        is($asked, $messages * @pubs, 'each was asked for once');
        cmp_ok(scalar $backend->calls, '<', $asked, 'with fewer calls');
    });

    $_->disconnect for @pubs, @subs;
};


part 'order on a channel' => sub {
    my @pubs = map { client($one, "u$_", path => '/single') } 1 .. 12;
    my $ann  = client($one, 'ann', path => '/single');

    while_it([ wait => 'lane', answer => 1 ], sub {
        $backend->forget;

        my @ids = $pubs[0]->send_cmd('publish', channel => 'lane', data => 0);
        $backend->wait_calls(1);

        push @ids, $pubs[$_]->send_cmd('publish', channel => 'lane',
                                       data => $_) for 1 .. 9;

        # another channel, of which there are other calls

        my @others = map { $pubs[$_]->send_cmd('publish',
                               channel => "lane$_", data => 1) } 10, 11;

        client($one, undef, path => '/single')->ok('ping');
        is((grep { $_->{channel} eq 'lane' } $backend->asked), 1,
           'nothing overtakes what is asked for');

        $backend->let('lane');
        is(code($pubs[$_]->reply($ids[$_])), 'ok', "answer $_") for 0 .. 9;
        is(code($pubs[$_ + 10]->reply($others[$_])), 'ok', 'others') for 0, 1;

        is_deeply(data_of($ann, 'lane'),
                  [ map { $_->{messages}[0]{data} }
                    grep { $_->{channel} eq 'lane' } $backend->asked ],
                  'made as they were asked for');
    });

    $_->disconnect for @pubs;
};


part 'several calls for a channel' => sub {
    my @pubs = map { client($one, "u$_") } 1 .. 6;

    $ann->ok('join', channel => 'several');

    while_it([ answer => 1 ], sub {
        $backend->forget;

        my @ids = map {
            $pubs[$_]->send_cmd('publish', channel => 'several', data => {
                n => $_, $_ == 2 ? (hold => 'several') : () })
        } 0 .. $#pubs;

        $backend->wait_calls(scalar @pubs);
        is(code($pubs[$_]->reply($ids[$_])), 'ok', 'those before') for 0, 1;

        client($one)->ok('ping');
        is_deeply([ map { $_->{data}{n} } $ann->drain ], [ 0, 1 ],
                  'those behind are asked for, but not made');

        $backend->let('several');
        is(code($pubs[$_]->reply($ids[$_])), 'ok', 'all') for 2 .. 5;
        is_deeply(data_of($ann, 'several'),
                  [ map { { n => $_, $_ == 2 ? (hold => 'several') : () } }
                    0 .. 5 ], 'in the order they came');
        is((grep { @{ $_->{publishes} } != 1 } $backend->calls), 0,
           'a call for each user');
    });

    $_->disconnect for @pubs;
    $ann->ok('leave', channel => 'several');
};


# what one sends must not decide about what others do

part 'each by itself' => sub {
    my @eve = map { client($one, "eve$_") } 1 .. 4;
    my @same = map { client($one, 'same') } 1 .. 6;
    my $bob = client($one, 'bob');

    # a call under way for each that is allowed, and then all of them at once

    my $jam = sub {
        my ($channel) = @_;

        my @jam = map { client($one, "jam$_") } 1 .. 8;
        my @id  = map { $_->send_cmd('publish', channel => $channel,
                                     data => { hold => $channel }) } @jam;

        $backend->wait_calls(8);

        return sub {
            $backend->let($channel);
            is(code($jam[$_]->reply($id[$_])), 'ok', 'made') for 0 .. 7;
            $_->disconnect for @jam;
        };
    };

    my @large = map { { data => 0, meta => 'm' x 1020, event => 'e' x 100,
                        key => 'k' x 100 } } 1 .. 48;

    while_it([ answer => 1 ], sub {
        $backend->forget;

        my $go = $jam->('large');
        my @id = map { $_->send_cmd('publish', channel => 'large',
                                    messages => \@large) } @same;
        my $b = $bob->send_cmd('publish', channel => 'large', data => 1);

        client($one)->ok('ping');
        $go->();

        is(code($same[$_]->reply($id[$_])), 'ok', 'large ones') for 0 .. 5;
        is(code($bob->reply($b)), 'ok', 'and one behind them');

        my @raw = map { length s/^.*?\r\n\r\n//sr } $backend->requests;
        is((grep { $_ > 262144 } @raw), 0, 'no call is too large')
            or diag("@raw");
        is((grep { my %u = map { ($_->{messages}[0]{from}{user} => 1) }
                               @{ $_->{publishes} }; keys %u > 1 }
            $backend->calls), 0, 'users are not mixed');
        cmp_ok((grep { @{ $_->{publishes} } > 1 } $backend->calls), '>', 0,
               'but what is of one goes together');
    });

    # a verdict that can't be followed is of one, and so is a call

    while_it([ answer => 1 ], sub {
        $backend->forget;

        my $go = $jam->('spoilt');
        my @id = map { $same[$_]->send_cmd('publish', channel => 'spoilt',
            data => $_ == 2 ? { spoil => 1 } : { n => $_ }) } 0 .. 5;

        client($one)->ok('ping');
        $go->();

        is(code($same[$_]->reply($id[$_])),
           $_ == 2 ? 'hook_failed' : 'ok', "each by itself: $_") for 0 .. 5;
        is_deeply(data_of($ann, 'spoilt')->[$_], { n => $_ < 10 ? $_ - 8
                                                             : $_ - 7 },
                  'in order') for 8 .. 12;
    });

    $_->disconnect for @eve, @same, $bob;
};


part 'a no that is lost is no yes' => sub {
    my $ws = client($one, 'lax', path => '/lax');

    for my $steps ([ send => response(400) ], [ send => response(413) ],
                   [ send => response(200, [], 'OK') ],
                   [ send => response(200, [], '{"publishes":[]}') ],
                   [ send => response(200, [], ' ' x 1048577) ])
    {
        while_it($steps, sub {
            is(code(publish($ws, 'lost', 1)), 'hook_failed',
               'fail=pass: ' . substr $steps->[1], 0, 40);
        });
    }

    is(code(publish($ws, 'lost', { change => [] })), 'hook_failed',
       'a bad change');
    is(code(publish($ws, 'lost', { say => { allow => 'no' } })),
       'hook_failed', 'neither yes nor no');

    my $big = client($one, 'big', path => '/bulky_lax');
    is(code(publish($big, 'lost', 'x' x 1100000, timeout => 20)),
       'hook_failed', 'larger than client_max_body_size');

    is_deeply(data_of($ws, 'lost'), [], 'nothing was published');
    $_->disconnect for $ws, $big;
};


part 'batches' => sub {
    my @pubs = map { client($one, 'same') } 1 .. 150;

    while_it([ wait => 'batches', answer => 1 ], sub {
        $backend->forget;

        my @ids = $pubs[0]->send_cmd('publish', channel => 'batch', data => 0);
        $backend->wait_calls(1);

        push @ids, $pubs[$_]->send_cmd(
            'publish', channel => 'batch', data => $_ % 3 ? $_ : { deny => {} }
        ) for 1 .. $#pubs;

        # a ping behind them tells that they are waiting
        my $last = client($one);
        $last->ok('ping');
        $backend->let('batches');

        is_deeply([ map { code($pubs[$_]->reply($ids[$_])) } 0 .. $#pubs ],
                  [ map { $_ && $_ % 3 == 0 ? 'refused' : 'ok' }
                    0 .. $#pubs ], 'each gets its answer');

        my @sizes = map { scalar @{ $_->{publishes} } } $backend->calls;
        is($sizes[0], 1, 'the first is alone');
        cmp_ok(@sizes, '<', 12, scalar(@sizes) . ' calls for 150');
        ok(!(grep { $_ > 64 } @sizes), 'no more than batch= in one')
            or diag("@sizes");
        $last->disconnect;
    });

    $_->disconnect for @pubs;
};


part 'raw' => sub {
    my $raw   = $nginx->ws(path => '/raw?channel=raw', worker => $one);
    my $other = $nginx->ws(path => '/raw?channel=raw', worker => $two);

    $raw->send_text("$_") for 1 .. 20;
    is($other->recv_text, "$_", "in order: $_") for 1 .. 20;
    is($raw->recv_text, "$_", "echo $_") for 1 .. 20;

    while_it([ send => response(200, [], '{"publishes":[{"allow":false}]}') ],
             sub {
        $raw->send_text($_) for 'no', 'after';
        $raw->wait_close;
        is($raw->close_code, 4403, 'refused: the connection is closed');
        like($raw->close_reason, qr/did not let it through/, 'why');
    });

    while_it([ send => response(500) ], sub {
        $other->send_text('x');
        $other->wait_close;
        is($other->close_code, 1013, 'failed: it may try again');
    });

    is_deeply(data_of($ann, 'raw'), [ map { "$_" } 1 .. 20 ],
              'nothing more was published');
};


part 'who publishes goes away' => sub {
    while_it([ wait => 'gone', answer => 1 ], sub {
        $bob->ok('join', channel => 'gone');

        my $cut  = client($one, 'cut');
        my $raw  = $nginx->ws(path => '/raw?channel=gone', worker => $one);
        my $left = client($one, 'left');

        $left->ok('join', channel => 'gone');

        $backend->forget;
        $cut->send_cmd('publish', channel => 'gone', data => 'cut');
        $backend->wait_calls(1);
        $raw->send_text('raw cut');
        $left->send_cmd('publish', channel => 'gone', data => 'left');
        $left->send_cmd('leave', channel => 'gone');

        client($one)->ok('ping');
        $_->disconnect for $cut, $raw, $left;
        client($one)->ok('ping');
        $backend->let('gone');

        is_deeply([ sort map { $bob->next_push->{data} } 1 .. 3 ],
                  [ 'cut', 'left', 'raw cut' ],
                  'it is published all the same');
    });

    is(code(publish($ann, 'gone', 'end')), 'ok', 'and then');
    is($bob->next_push->{data}, 'end', 'the next one follows');

    # what it has sent behind it is done too

    while_it([ wait => 'array', answer => 1 ], sub {
        my $array = client($one, 'array');

        $backend->forget;
        $array->send_json([ map { { op => 'publish', channel => 'gone',
                                    data => $_ } } 1 .. 3 ]);
        $backend->wait_calls(1);
        $array->disconnect;
        $backend->let('array');

        is_deeply([ map { $bob->next_push->{data} } 1 .. 3 ], [ 1 .. 3 ],
                  'an array');
    });
};


# A member whose connection is gone is no member for as long as a backend takes
# to answer to what it has published.

part 'its seat does not wait' => sub {
    my $room = 'brief:room';

    $bob->ok('join', channel => $_) for $room, 'crew:room';

    # the reason, or nothing

    my $leaves = sub {
        my ($ws) = @_;
        my $why;

        $bob->next_where(sub {
            for my $m (@{ ($_[0]{presence} || {})->{left} || [] }) {
                $why = $m->{reason} if $m->{client} eq $ws->client;
            }
            return $why;
        }, 15);

        return $why;
    };

    my $held = sub {
        my ($gate, $room, $sub) = @_;

        while_it([ wait => $gate, answer => 1 ], sub {
            my $ws = client($one, $gate);

            $ws->ok('join', channel => $room, presence => {});
            $backend->forget;
            $sub->($ws);
        });
    };

    $held->(cut => $room, sub {
        my ($ws) = @_;

        $ws->send_cmd('publish', channel => $room, data => 1);
        $ws->send_cmd('publish', channel => $room, data => 2);
        $ws->send_cmd('join', channel => 'brief:other', presence => {});
        $backend->wait_calls(1);
        $ws->disconnect;

        is($leaves->($ws), 'network',
           'who is cut leaves before the backend has answered');

        $backend->let('cut');
        is($bob->next_where(sub { exists $_[0]{data} })->{data}, $_,
           "what it has sent is done: $_") for 1, 2;
        is(@{ $bob->ok('members', channel => 'brief:other')->{members} }, 0,
           'but for a join');
    });

    $held->(back => $room, sub {
        my ($ws) = @_;
        my $token = $ws->resume;

        $ws->send_cmd('publish', channel => $room, data => 3, key => 'k');
        $ws->send_cmd('publish', channel => $room, data => 'never');
        $backend->wait_calls(1);
        $ws->disconnect;

        my $again = client($two, 'back', resume => $token);
        is($again->client, $ws->client, 'it comes back elsewhere');
        $again->ok('join', channel => $room, presence => {});
        my $id = $again->send_cmd('publish', channel => $room, data => 3,
                                  key => 'k');

        $backend->wait_calls(2);
        $backend->let('back');
        is(code($again->reply($id)), 'ok', 'and tries again');
        $again->ok('publish', channel => $room, data => 4);
        is($bob->next_where(sub { exists $_[0]{data} })->{data}, $_,
           "which is told once: $_") for 3, 4;
        $again->close;
        is($leaves->($ws), 'intentional', 'then it leaves');
    });

    $held->(close => 'crew:room', sub {
        my ($ws) = @_;

        $ws->send_cmd('publish', channel => 'crew:room', data => 5);
        $backend->wait_calls(1);
        $ws->send_close(1000);
        $ws->disconnect;
        ok(wait_for(sub {
            $http->get('/api/clients/' . $ws->client)->json->{state}
                eq 'lingers';
        }), 'said goodbye, and gone');

        $backend->let('close');
        is($bob->next_where(sub { exists $_[0]{data} })->{data}, 5,
           'published');
        is($leaves->($ws), 'intentional', 'and left by its own will');
    });

    $bob->ok('leave', channel => $_) for $room, 'crew:room';
};


part 'pings' => sub {
    while_it([ wait => 'pings', answer => 1 ], sub {
        my $ws = client($one, 'pings', path => '/pinged');
        my $id = $ws->send_cmd('publish', channel => 'pings', data => 1);

        ok(!$ws->reply($id, 1.5), 'the backend takes longer than a ping');
        $backend->let('pings');
        is(code($ws->reply($id) || {}), 'ok', 'which is no fault of the client');
        $ws->ok('ping');
        $ws->disconnect;
    });
};


part 'a worker is killed' => sub {
    settles();

    while_it([ wait => 'killed', answer => 1 ], sub {
        my $eve = client($two, 'eve');

        $backend->forget;
        $eve->send_cmd('publish', channel => 'kill', key => 'k', data => 1);
        my $id = $ann->send_cmd('publish', channel => 'kill', data => 2);
        $backend->wait_calls(2);

        $nginx->kill_worker($two);
        $backend->let('killed');

        is(code($ann->reply($id)), 'ok', 'others have their answer');
    });

    ($two) = grep { $_ != $one } $nginx->worker_pids;

    my $eve = client($two, 'eve');
    my @ok = map { $eve->ok('publish', channel => 'kill', key => 'k',
                            data => 1) } 1, 2;

    is($ok[1]{duplicate}, $true, 'again with the key: once');
    is_deeply([ sort @{ data_of($eve, 'kill') } ], [ 1, 2 ], 'all is there');
    $eve->disconnect;

    $bob = client($two, 'bob');
};


part 'a reload' => sub {
    while_it([ wait => 'reload', answer => 1 ], sub {
        my $sub = client($two, 'sub');
        $backend->forget;

        my $ws = client($one, 'old');
        my $id = $ws->send_cmd('publish', channel => 'reload', data => 1);
        $backend->wait_calls(1);

        $nginx->reload;
        $backend->let('reload');

        my $reply = eval { $ws->reply($id, 10) };
        is($reply ? code($reply) : 'gone', $reply ? 'ok' : 'gone',
           'an answer, or the session has moved on');
    });

    ($one, $two) = $nginx->worker_pids;
    $http = $nginx->http;
    $ann->disconnect;
    $bob->disconnect;
    $ann = client($one, 'ann');
    $bob = client($two, 'bob');

    ok(wait_for(sub { @{ data_of($ann, 'reload') } == 1 }),
       'it is published, by the old worker');
    ok(wait_for(sub { !$nginx->stopping_pids }, 30), 'which exits then');

    $idle = steady(\&stub);
    %fds = map { $_ => steady_fds($_) } $one, $two;
};


part 'failures' => sub {
    my $json = response(200, [], '{"publishes":[{}]}');

    my @failures = (
        [ 'a 500'               => send => response(500) ],
        [ 'a 404'               => send => response(404, [], $json) ],
        [ 'a 302'               => send => response(302, [ [ Location => '/' ]
                                                        ]) ],
        [ 'text'                => send => response(200, [], 'OK') ],
        [ 'an array'            => send => response(200, [], '[{}]') ],
        [ 'no publishes'        => send => response(200, [], '{}') ],
        [ 'null'                => send => response(200, [],
                                     '{"publishes":null}') ],
        [ 'too few'             => send => response(200, [],
                                     '{"publishes":[]}') ],
        [ 'too many'            => send => response(200, [],
                                     '{"publishes":[{},{}]}') ],
        [ 'no object'           => send => response(200, [],
                                     '{"publishes":[1]}') ],
        [ 'allow is no boolean' => send => response(200, [],
                                     '{"publishes":[{"allow":"no"}]}') ],
        (map { [ $_->[0] => send => response(200, [], $_->[1]) ] }
             [ 'an unknown member'  => '{"publishes":[{"alow":false}]}' ],
             [ 'beside a yes'       => '{"publishes":[{"allow":true,"by":1}]}' ],
             [ 'beside a no'        => '{"publishes":[{"allow":false,"by":1}]}' ],
             [ 'of the response'    => '{"publishes":[{}],"allow":false}' ],
             [ 'of a message'       => '{"publishes":[{"messages":[{"data":1,'
                                       . '"evnt":"x"}]}]}' ],
             [ 'twice'              => '{"publishes":[{"allow":false,"allow":true}]}' ],
             [ 'a reason without a no' => '{"publishes":[{"message":"no"}]}' ],
             [ 'details without one' => '{"publishes":[{"details":{}}]}' ]),
        [ 'cut JSON'            => send => response(200, [],
                                     '{"publishes":[{}]') ],
        [ 'no UTF-8'            => send => response(200, [],
                                     "{\"publishes\":[{\"\xff\":1}]}") ],
        [ 'deep JSON'           => send => response(200, [],
               '{"x":' . '[' x 500 . ']' x 500 . ',"publishes":[{}]}') ],
        [ 'no HTTP'             => send => "garbage\r\n\r\n\0\1\2",
                                   close => 1 ],
        [ 'nothing at all'      => close => 1 ],
        [ 'closes in the headers' => send => "HTTP/1.1 200 OK\r\nX: ",
                                   close => 1 ],
        [ 'closes in the body'  => send => "HTTP/1.1 200 OK\r\n"
                                     . "Content-Length: 50\r\n\r\n{\"publ",
                                   close => 1 ],
        [ 'half a chunk'        => send => "HTTP/1.1 200 OK\r\n"
                                     . "Transfer-Encoding: chunked\r\n\r\n"
                                     . "12\r\n{\"publishes\":[{}]}\r\n",
                                   close => 1 ],
        [ 'a megabyte'          => send => "HTTP/1.1 200 OK\r\n"
                                     . "Content-Length: 1000000\r\n\r\n",
                                   fill => 1_000_000 ],
        [ 'a megabyte of spaces' => send => response(200, [], ' ' x 1_200_000
                                     . '{"publishes":[{}]}') ],
        [ 'too large headers'   => send => "HTTP/1.1 200 OK\r\nX: "
                                     . 'x' x 100_000 . "\r\n\r\n" ],
    );

    my $off = client($one);

    for my $failure (@failures) {
        my ($name, @steps) = @$failure;

        while_it(\@steps, sub {
            is(code(publish($ann, 'fail', $name)), 'hook_failed', $name);
        });

        is(code(publish($ann, 'fail', 'good')), 'ok', 'then it works again');
    }

    is_deeply(data_of($ann, 'fail'), [ ('good') x @failures ],
              'nothing of them is published');
    like(Fanout::Nginx::slurp($nginx->dir . '/error.log'), $_, 'it is said')
        for qr/answered to a publish on channel "fail" with an invalid answer: unknown member 'alow' at byte/,
            qr/with an invalid answer: unknown member 'evnt' at byte/,
            qr/fanout_hook "[^"]+" failed for 1 publishes .*: status 200, unknown member 'allow' at byte/,
            qr/with an invalid answer: .*member 'allow' at byte/,
            qr/with an invalid answer: "message" and "details" need "allow":false/,
            qr/failed for 1 publishes .*: status 0, the response has no status(?:,|$)/m;

    is_deeply(publish($ann, 'fail', { say => 5 })->{error}, {
        code => 'hook_failed',
        message => 'the backend gave no valid answer'
    }, 'what the client is told');

    $off->disconnect;
};


part 'fail=pass' => sub {
    my $ws  = client($one, 'lax', path => '/lax');
    my $raw = $nginx->ws(path => '/lax_raw?channel=pass', worker => $one);

    $ws->ok('join', channel => 'pass');

    for my $steps ([ send => response(500) ], [ close => 1 ],
                   [ send => response(503) ], [ wait => 'never' ])
    {
        while_it($steps, sub {
            is(code(publish($ws, 'pass', "$steps->[0]")), 'ok', 'published');
        });
        is($ws->next_push->{data}, $steps->[0], 'as it was');
        is($raw->recv_text, "\"$steps->[0]\"", 'for all');
    }

    $backend->let('never');
    is(code(publish($ws, 'pass', { say => 1 })), 'hook_failed', 'no answer');
    is(code(publish($ws, 'pass', { change => [] })), 'hook_failed',
       'a bad change');
    is(code(publish($ws, 'pass', { deny => {} })), 'refused',
       'a no is a no');

    while_it([ send => response(500) ], sub {
        $raw->send_text('raw');
        is($raw->recv_text, 'raw', 'raw');
    });

    $_->disconnect for $ws, $raw;
};


part 'bounds' => sub {
    my @ws = map { client($one, 'same', path => '/tight') } 1 .. 6;

    while_it([ wait => 'tight', answer => 1 ], sub {
        $backend->forget;

        my @ids = $ws[0]->send_cmd('publish', channel => 'q', data => 0);
        $backend->wait_calls(1);

        for my $i (1 .. 3) {
            $ids[$i] = $ws[$i]->send_cmd('publish', channel => 'q',
                                         data => $i);
        }

        $ws[5]->ok('ping');
        is(code(publish($ws[4], 'q', 4)), 'hook_failed', 'queue=');

        $backend->let('tight');
        is(code($ws[$_]->reply($ids[$_])), 'ok', 'those in it') for 0 .. 3;
        is(code(publish($ws[4], 'q', 4)), 'ok', 'then there is place');
        is_deeply([ map { scalar @{ $_->{publishes} } } $backend->calls ],
                  [ 1, 2, 1, 1 ], 'batch=');
    });

    my $ok = '{"publishes":[{}]}';

    while_it([ send => response(200, [], $ok . ' ' x (1000 - length $ok)) ],
             sub {
        is(code(publish($ws[0], 'q', 5)), 'ok', 'limit=');
    });

    while_it([ send => response(200, [], $ok . ' ' x (1001 - length $ok)) ],
             sub {
        is(code(publish($ws[0], 'q', 5)), 'hook_failed', 'one more');
    });

    ok(scalar $nginx->log_like(qr/the response is too large/), 'it is said');

    while_it([ send => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
               trickle => 100 ], sub {
        is(code(publish($ws[0], 'q', 6)), 'hook_failed', 'a trickle');
    });

    while_it([ wait => 'never ever' ], sub {
        is(code(publish($ws[0], 'q', 7)), 'hook_failed', 'timeout=');
    });

    $backend->let('never ever');
    ok(scalar $nginx->log_like(qr/it took too long/), 'it is said');
    is(code(publish($ws[0], 'q', 8)), 'ok', 'after all this');

    $_->disconnect for @ws;
};


part 'a full queue is said, but not each time' => sub {
    my ($first, $ws) = map { client($one, "u$_", path => '/full') } 1, 2;
    my $line = qr{"/hooks/full" was not asked for \d+ publishes};

    my $told = sub {
        my $n = 0;
        $n += $_ for map { /asked for (\d+)/ } $nginx->log_like($line);
        return $n;
    };

    while_it([ wait => 'full', answer => 1 ], sub {
        $backend->forget;

        my $id = $first->send_cmd('publish', channel => 'q', data => 0);
        $backend->wait_calls(1);

        is(code(publish($ws, 'q', 1)), 'hook_failed', 'queue=');
        is($told->(), 1, 'said');
        like(($nginx->log_like($line))[0],
             qr/\[warn\].* in zone "full": 1 wait for it already, "queue="/,
             'as a warning');

        publish($ws, 'q', $_) for 2 .. 300;

        ok(wait_for(sub { $told->() == 300 }, 30), 'all are counted');
        cmp_ok(scalar(my @said = $nginx->log_like($line)), '<', 100,
               'in few lines');

        $backend->let('full');
        is(code($first->reply($id)), 'ok', 'the one that waits');
    });

    $_->disconnect for $first, $ws;
};


part 'others meanwhile' => sub {
    $_->ok('join', channel => 'off:x') for $ann, $bob;

    while_it([ wait => 'others', answer => 1 ], sub {
        $backend->forget;

        my $ws = client($one, 'eve');
        my $id = $ws->send_cmd('publish', channel => 'hang', data => 1);
        $backend->wait_calls(1);

        $ann->ok('ping');
        is(code(publish($ann, 'off:x', 'off')), 'ok', 'hooks=off');
        is($_->next_push->{data}, 'off', 'arrives') for $ann, $bob;
        is($nginx->http(worker => $one)->get('/status')->{status}, 200,
           'the status');

        my $late = client($one);
        $late->ok('join', channel => 'hang');

        $backend->let('others');
        is(code($ws->reply($id)), 'ok', 'and gets its answer');
        is($late->next_push->{data}, 1, 'who joined meanwhile sees it');
        $_->disconnect for $ws, $late;
    });

    # nobody there

    $backend->stop;
    is(code(publish($ann, 'down', $_)), 'hook_failed', 'the backend is down')
        for 1 .. 3;
    is(code(publish($ann, 'off:x', 'off')), 'ok', 'hooks=off');
    $backend->begin;

    ok(wait_for(sub { code(publish($ann, 'down', 'up')) eq 'ok' }, 30),
       'it is up again');
};


part 'locations' => sub {
    open my $f, '>', $nginx->dir . '/html/oops.html' or die;
    print $f 'oops';
    close $f;
    mkdir $nginx->dir . '/html/place';
    open $f, '>', $nginx->dir . '/html/place/file' or die;
    print $f '{"publishes":[{}]}';
    close $f;

    for my $place (@places) {
        my ($name, $want) = @$place;
        my $ws = client($one, 'ann', path => "/rt/$name");

        for my $try (1, 2) {
            is(code(publish($ws, 'x', 1)), $want, "$name, $try");
        }

        $ws->disconnect;
    }

    my $ws = client($one, 'ann', path => '/seldom');
    is_deeply([ map { code(publish($ws, 'x', $_)) } 1, 2 ],
              [qw( ok hook_failed )], 'limit_req');
    $ws->disconnect;

    my $log = Fanout::Nginx::slurp($nginx->dir . '/hook.log');
    my @lines = grep { m{ /hooks/app } } split /\n/, $log;

    like($_, qr{^unix: POST /hooks/app 200 nginx-fanout/})
        for @lines[0, -1];
};


part 'locations that take too long' => sub {
    my $delayed = client($one, 'ann', path => '/rt/delayed');

    is(code(publish($delayed, 'x', 1)), 'ok', 'the first is not delayed');
    is(code(publish($delayed, 'x', 2)), 'hook_failed', 'the second is');

    while_it([ wait => 'slow' ], sub {
        for my $place (@slow) {
            my ($name) = @$place;
            my $ws = client($one, 'ann', path => "/rt/$name");

            is(code(publish($ws, 'x', $_)), 'hook_failed', "$name, $_")
                for 1, 2;
            $ws->disconnect;
        }

        $backend->let('slow');
    });

    $delayed->disconnect;
};


part 'access_log' => sub {
    my $lines = sub {
        scalar(() = Fanout::Nginx::slurp($nginx->dir . '/hook.log')
                    =~ m{ /hooks/app 200 }g)
    };

    my $n = $lines->();

    publish($ann, 'log', $_) for 1 .. 5;
    ok(wait_for(sub { $lines->() == $n + 5 }), 'one line for a call');
};


part 'counters' => sub {
    my $was = counters();

    publish($ann, 'count', $_) for 1, { deny => {} }, { deny => {} },
        { change => [ { data => 1 }, { data => 2 } ] }, { say => 1 };

    my $now = counters();
    my %grown = map { $_ => $now->{$_} - $was->{$_} }
                grep { /^hook_/ || $_ eq 'published' } keys %$now;

    is_deeply(\%grown, {
        hook_calls => 5, hook_asks => 5, hook_refusals => 2,
        hook_changes => 1, hook_failures => 1, hook_events => 0,
        published => 3,
    }, 'what happened is counted');
};


part 'nothing is left behind' => sub {
    settles();

    $http->disconnect;
    $backend->stop;

    for my $pid ($one, $two) {
        ok(wait_for(sub { $nginx->fds($pid) <= $fds{$pid} }),
           'descriptors') or diag($nginx->fds($pid) . ", not $fds{$pid}");
    }
};
