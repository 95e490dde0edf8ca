#!/usr/bin/env perl

# docs/troubleshooting.md: each symptom is brought about, and what is said then is
# what the page says. If this fails, somebody with a trouble looks for it in vain,
# or is sent the wrong way.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::JWT;
use Fanout::Nginx;


my $http = <<'END';
    fanout_zone app 8m idle=1s;
    fanout_zone other 4m;
    fanout_zone tight 2m keys=0%-1%;
    fanout_channel app   room:*  history=100;
    fanout_channel app   short:* history=2;
    fanout_channel tight *       history=100;
    fanout_channels_per_session 1000;
END

my $nginx = Fanout::Nginx->start(
    http   => $http,
    allow  => [ qr/eventfd\(\) failed: a fanout zone needs a file/ ],
    server => <<'END',
        location /realtime { fanout app; fanout_user $arg_user;
                             fanout_permit all *; fanout_drain 1s; }
        location /other    { fanout other; fanout_permit all *; }
        location /tight    { fanout tight; fanout_permit all *; fanout_budget off;  }
        location /var      { fanout app; fanout_permit all user:$arg_user:*; }
        location /listed   { fanout app; fanout_permit all *;
                             fanout_origin same https://app.example.com; }
        location /one      { fanout app; fanout_permit all *;
                             fanout_sessions 1; }
        location /near     { fanout app; fanout_permit all *;
                             fanout_sessions_per_address 1; }
        location /small    { fanout app; fanout_permit all *;
                             fanout_buffer 1k; fanout_message_size 1k; }
        location /rated    { fanout app; fanout_permit all *;
                             fanout_rate 1r/s; }
        location /quick    { fanout app; fanout_permit all *;
                             fanout_ping 200ms; fanout_timeout 200ms; }
        location /pinging  { fanout app; fanout_permit all *;
                             fanout_ping 200ms; fanout_timeout 10s; }
        location /token    { fanout app; fanout_permit all *;
                             fanout_user $fanout_claim_sub;
                             fanout_jwt secret=0123456789abcdef leeway=0; }
        location /first    { fanout app; fanout_permit all *;
                             fanout_user $fanout_claim_sub;
                             fanout_jwt secret=0123456789abcdef from=command
                                        wait=200ms; }
        location /never    { fanout app; fanout_permit all *; fanout_ping 0; }
        location /raw      { fanout app; fanout_dialect raw;
                             fanout_permit join *;
                             fanout_permit publish room:*; }
        location /private  { fanout app; fanout_dialect raw;
                             fanout_permit join room:*; }
        location /dropped/ { proxy_pass http://127.0.0.1:%%PORT%%/; }
        location /hosts/   { proxy_pass http://127.0.0.1:%%PORT%%/;
                             proxy_http_version 1.1;
                             proxy_set_header Upgrade $http_upgrade;
                             proxy_set_header Connection "upgrade";
                             proxy_read_timeout 1s; }
        location /passed/  { proxy_pass http://127.0.0.1:%%PORT%%/;
                             proxy_http_version 1.1;
                             proxy_set_header Upgrade $http_upgrade;
                             proxy_set_header Connection "upgrade";
                             proxy_set_header Host $http_host;
                             proxy_read_timeout 1s; }
        location /fanout/  { fanout_api app; client_max_body_size 100k; }
        location /api/other/ { fanout_api other; }
        location /api/tight/ { fanout_api tight; }
        location = /status { fanout_status app; }
END
);

my $api  = $nginx->http;
my $here = '127.0.0.1:' . $nginx->port;
my @said;


# what came back from a handshake that is refused

sub refused {
    my ($path, %o) = @_;

    my $ws = $nginx->ws(path => $path, expect => undef, %o);

    push @said, $ws->body // '';

    return $ws->status;
}


sub closed {
    my ($ws, $timeout) = @_;

    $ws->wait_close($timeout);
    push @said, $ws->close_reason // '';

    return $ws->close_code // 1006;
}


sub error {
    my ($reply) = @_;

    push @said, $reply->{error}{message} // '';

    return $reply->{error}{code} // 'none';
}


sub publish {
    my ($channel, $data) = @_;

    return $api->post("/fanout/channels/$channel/messages",
                      qq("$data"))->json;
}


sub zone { $api->get('/status')->json->{zone} }


my %try = (

'400' => sub {
    is(refused('/realtime?user=' . 'u' x 300), 400, 'a long user');
    is(refused('/realtime', headers => { 'Sec-WebSocket-Key' => 'x' }), 400,
       'no key');
    is(refused('/realtime', headers => { 'Content-Length' => 1 },
               after => 'x'), 400, 'a body');
    is(refused('/raw'), 400, 'no channel');
},

'403' => sub {
    my %page = (Host => $here, Origin => "http://$here");

    is(refused('/realtime', headers => { %page,
               Origin => 'https://app.example.com' }), 403, 'another site');
    is(refused('/hosts/realtime', headers => \%page), 101,
       'by a proxy with the same name');
    is(refused('/hosts/realtime', headers => {
               Host => 'www.test', Origin => 'https://www.test' }), 403,
       'by one that changes it');
    is(refused('/passed/realtime', headers => {
               Host => 'www.test', Origin => 'https://www.test' }), 101,
       'by one that does not');
    is(refused('/listed', headers => { Origin => 'https://app.example.com' }),
       101, 'named');

    my $r = $api->get('/realtime?poll=1&session=1&channel=room:1');

    is($r->{status}, 403, 'a GET that begins a session');
    push @said, $r->json->{error}{message};

    $r = $api->post('/fanout/channels/room:1/messages', '1',
                    headers => { Host => 'www.example.com' });
    is($r->{status}, 403, 'the API by another name');
    push @said, $r->json->{error}{message};

    $r = $api->post('/fanout/channels/room:1/messages', '1',
                    headers => { Origin => 'https://app.example.com' });
    is($r->{status}, 403, 'the API by a page');
    push @said, $r->json->{error}{message};

    is(refused('/private?channel=x'), 403, 'not permitted');
    is(refused('/private?channel=room:1'), 101, 'permitted');
},

'426' => sub {
    is($api->get('/realtime')->{status}, 426, 'as a page');
    is(refused('/dropped/realtime'), 426, 'by a proxy that drops it');
    is(refused('/passed/realtime'), 101, 'by one that does not');
    is(refused('/realtime', headers => { 'Sec-WebSocket-Version' => 8 }), 426,
       'an old one');
},

'429, 401 and others' => \'beside_limit.t',

'503' => sub {
    my ($pid) = $nginx->worker_pids;
    my $in = $nginx->ws(path => '/one', worker => $pid, expect => undef);
    my $status;

    wait_for(sub {
        $status = refused('/one', worker => $pid);
        return $status == 503;
    });
    is($status, 503, 'one too many');

    my $near = $nginx->ws(path => '/near', local => '127.0.0.2');
    my $more = $nginx->ws(path => '/near', local => '127.0.0.2',
                          expect => undef);

    is($more->status, 503, 'one too many of an address');
    push @said, $nginx->log, $more->body // '';
},

'the connection is refused' => \'beside_limit.t',

'forbidden' => sub {
    my $ws = $nginx->native(path => '/var');

    is(error($ws->cmd('join', channel => 'user::x')), 'forbidden',
       'a variable that is empty');
    push @said, $nginx->log;

    $ws = $nginx->native(path => '/var?user=ann');
    ok($ws->ok('join', channel => 'user:ann:x'), 'and one that is not');
},

'nothing arrives' => sub {
    my $ws = $nginx->native(path => '/realtime');
    my $seen = sub { $api->get("/$_[0]/channels/$_[1]")->json };

    $ws->ok('join', channel => 'room:Here');
    publish('room:here', 'lost');
    ok(wait_for(sub { $seen->('fanout', 'room:Here')->{subscribers} }),
       'there is a subscriber');
    is($seen->('fanout', 'room:here')->{subscribers}, 0, 'but not there');
    $api->post('/api/other/channels/room:Here/messages', '1');
    is($seen->('fanout', 'room:Here')->{offset}, 0, 'its offset stands');
    is($seen->('api/other', 'room:Here')->{offset}, 1, 'another grows');

    $ws->ok('join', channel => 'room:some', events => ['this']);
    publish('room:some', 'no event');
    $ws->ok('publish', channel => 'room:some', data => 1, event => 'this');
    is($ws->next_push->{event}, 'this', 'only the events asked for');

    $ws->ok('join', channel => 'room:quiet', echo => Fanout::JSON::false());
    $ws->ok('publish', channel => 'room:quiet', data => 1);
    publish('room:quiet', 'of another');
    is($ws->next_push->{data}, 'of another', 'not one\'s own');
},

'recovered is false' => sub {
    my $ws = $nginx->native(path => '/realtime');

    for my $channel ('short:1', 'nowhere:1') {
        $ws->ok('join', channel => 'keep');
        my $first = publish($channel, 1);
        my $at = { epoch => $first->{epoch}, offset => 1 };

        publish($channel, $_) for 2 .. 9;
        ok(!$ws->ok('join', channel => $channel, since => $at)->{recovered},
           "$channel is not kept");
    }

    my $first = publish('room:long', 1);
    publish('room:long', $_) for 2 .. 9;
    ok($ws->ok('join', channel => 'room:long',
               since => { epoch => $first->{epoch}, offset => 1 })
       ->{recovered}, 'more history is');
},

'resumed is false' => sub {
    my $ann = $nginx->native(path => '/realtime?user=ann');

    $ann->cut;
    ok(!$nginx->native(path => '/realtime?user=bob', resume => $ann->resume)
       ->welcome->{resumed}, 'another user');

    $ann = $nginx->native(path => '/realtime?user=ann');
    $ann->close(1000);
    ok(wait_for(sub {
        !$nginx->native(path => '/realtime?user=ann', resume => $ann->resume)
         ->welcome->{resumed}
    }), 'who said goodbye');

    $ann = $nginx->native(path => '/realtime?user=ann');
    $ann->cut;
    ok($nginx->native(path => '/realtime?user=ann', resume => $ann->resume)
       ->welcome->{resumed}, 'who was cut comes back');
},

'gap' => \'stalled.t',
'gap for all clients of a worker' => \'stop.t',

'offsets begin anew' => sub {
    my $was = publish('gone:1', 1);

    ok(wait_for(sub {
        $api->get('/fanout/channels/gone:1')->{status} == 404
    }, 20), 'forgotten after idle=');

    my $is = publish('gone:1', 1);
    is($is->{offset}, 1, 'from 1 on');
    isnt($is->{epoch}, $was->{epoch}, 'in another epoch');
},

'rate_limited' => sub {
    my $ws = $nginx->native(path => '/rated');
    my @r = $ws->batch(map { { op => 'ping' } } 1 .. 5);

    my ($e) = grep { $_->{error} } @r;
    is($e->{error}{code}, 'rate_limited', 'each counts');
    ok($e->{error}{data}{retry_after}, 'and when is said');
},

'1006 after a while' => sub {
    my $idle = $nginx->native(path => '/passed/never');
    my $busy = $nginx->native(path => '/passed/pinging');
    my $n = 0;

    # answers pings for longer than the proxy waits

    ok(wait_for(sub {
        $busy->recv_message(0.1);
        return $idle->eof || !defined $idle->recv_frame(0) && $idle->eof;
    }, 20), 'a proxy cuts who is silent');
    $busy->ok('ping');
    pass('a ping in time keeps it');

    my $mute = $nginx->native(path => '/quick');
    ok($nginx->wait_log(qr/fanout client does not answer pings/),
       'who does not answer');
},

'1009' => sub {
    my $ws = $nginx->native(path => '/small');

    $ws->send_json([ map { { op => 'publish', channel => 'room:a',
                             data => 'x' x 900 } } 1 .. 10 ]);
    is(closed($ws), 1009, 'small ones add up');
},

'1012' => sub {
    my $raw = $nginx->ws(path => '/raw?channel=room:purged');

    publish('room:purged', 1);
    $raw->recv_text;
    $api->delete('/fanout/channels/room:purged');
    is(closed($raw), 1012, 'a reset');

    my $ws = $nginx->native(path => '/realtime');
    $nginx->reload;
    is(closed($ws, 20), 1012, 'a restart');
    $api = $nginx->http;
},

'1013' => sub {
    my $first = publish('short:2', 1);

    publish('short:2', $_) for 2 .. 9;

    my $raw = $nginx->ws(path => "/raw?channel=short:2&since=$first->{epoch}:1");
    is(closed($raw), 1013, 'not kept');
},

'4401' => sub {
    my $token = Fanout::JWT::sign('HS256', '0123456789abcdef',
                                  { sub => 'ann', exp => CORE::time() + 5 });
    my $ws = $nginx->native(path => '/token',
                            headers => { Authorization => "Bearer $token" });

    is(closed($ws), 4401, 'the token has expired');
    is($ws->close_reason, 'expired', 'the reason');

    $ws = $nginx->native(path => '/first', welcome => 0);
    is(closed($ws), 4401, 'no token came');
    is($ws->close_reason, 'no token', 'the reason');
},

'4403' => sub {
    my $raw = $nginx->ws(path => '/raw?channel=x');

    $raw->send_text('x');
    is(closed($raw), 4403, 'not permitted');
},

'4408' => sub {
    my $ws = $nginx->native(path => '/quick');

    $ws->send_frame(1, '{', fin => 0);

    my $code;
    wait_for(sub {
        $ws->send_pong('');
        $ws->recv_message(0.05);
        return defined($code = $ws->close_code) || $ws->eof;
    });
    is($code, 4408, 'not finished');
},

'4409' => sub {
    my $one = $nginx->native(path => '/realtime');
    my $two = $nginx->native(path => '/realtime', resume => $one->resume);

    is($two->client, $one->client, 'the same client');
    is(closed($one), 4409, 'replaced');
},

'4429' => sub {
    my $ws = $nginx->native(path => '/realtime');

    $ws->send_ping('x') for 1 .. 101;
    is(closed($ws), 4429, 'too many pings');
},

'404' => sub {
    my $r = $api->get('/fanout/channels/nobody');
    is("$r->{status} $r->{headers}{'content-type'}", '404 application/json',
       'the module\'s');
    $r = $api->get('/nowhere');
    is("$r->{status} $r->{headers}{'content-type'}", '404 text/html',
       'NGINX\'s');
},

'413' => sub {
    my $r = $api->post('/fanout/channels/a/messages', 'x' x 70_000);
    is("$r->{status} $r->{headers}{'content-type'}", '413 application/json',
       'the module\'s');
    is($r->json->{error}{data}{max}, 65536, 'with the limit');
    $r = $nginx->http->post('/fanout/channels/a/messages', 'x' x 110_000);
    is("$r->{status} $r->{headers}{'content-type'}", '413 text/html',
       'NGINX\'s');
},

'507' => sub {
    my $r;

    for my $i (1 .. 2000) {
        $r = $api->post("/api/tight/channels/x/messages?key=$i", 'y' x 3000);
        last if $r->{status} != 201;
    }

    is("$r->{status} " . $r->json->{error}{code}, '507 zone_full', 'refused');
    is($api->post('/api/tight/channels/x/messages', 'y' x 3000)->{status}, 201,
       'what needs none of the share that is full is not');
},

'it does not start' => sub {
    my ($binary, $dir) = (Fanout::Nginx::binary(), $nginx->dir);
    my $said = `ulimit -n 40; $binary -t -p $dir -c $dir/nginx.conf -e $dir/t.log 2>&1`;

    like($said, qr/\[emerg\].*eventfd\(\) failed: a fanout zone needs a file/,
         'not enough files');
},

'no free worker slot' => sub {
    my $few = Fanout::Nginx->start(
        workers => 2,
        http    => 'fanout_zone app 4m slots=1;',
        server  => 'location /realtime { fanout app; fanout_permit all *; }
                    location /fanout/ { fanout_api app; }
                    location = /status { fanout_status app; }',
    );

    ok($few->wait_log(qr/no free worker slot in fanout zone "app"/), 'a warning');
    push @said, $few->log;

    my ($without) = grep {
        $few->http(worker => $_)->get('/status?format=health')->{status} == 503
    } $few->worker_pids;

    ok($without, 'one of them has none');

    my $ws = $few->ws(path => '/realtime', worker => $without,
                      expect => undef);
    is($ws->status, 503, 'takes no sessions');
    push @said, $ws->body;
    is($few->http(worker => $without)->post('/fanout/channels/a/messages', '1')
       ->{status}, 201, 'serves the API');

    my ($other) = grep { $_ != $without } $few->worker_pids;

    $few->kill_worker($other);
    ok(wait_for(sub {
        2 > grep { $few->http(worker => $_)->get('/status?format=health')
                   ->{status} == 503 } $few->worker_pids
    }, 20), 'a slot that is given back is taken');
},

'the seventh stream waits' => \'sse_page.t',
'all workers hang' => \'stop.t',
'a directive is unknown' => \'beside_processes.t',

);


open my $f, '<', "$FindBin::Bin/../docs/troubleshooting.md" or die $!;
my $page = do { local $/; readline $f };
my @symptoms = $page =~ /^## (.*)$/mg;

is(join("\n", sort keys %try), join("\n", sort @symptoms),
   'all symptoms are tried');

for my $symptom (grep { $try{$_} } @symptoms) {
    my $try = $try{$symptom};

    ref $try eq 'CODE' ? subtest("\"$symptom\"" => $try)
                       : ok(-e "$FindBin::Bin/$$try", "$symptom: in $$try");
}

my $said = join "\n", @said, $nginx->log;
$said =~ s/\s+/ /g;

while ($page =~ /(Message: (?:`[^`]+`(?:, )?)+)/g) {
    for my $phrase ($1 =~ /`([^`]+)`/g) {
        $phrase =~ s/\s+/ /g;
        ok(index($said, $phrase) >= 0, "is said: $phrase");
    }
}
