#!/usr/bin/env perl

# The table of statuses in docs/protocol.md against a running server, both ways.
# If this fails, a client gets a status or a code that its author has not read
# of, or handles one that never comes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


my $nginx = Fanout::Nginx->start(
    workers => 1,
    http    => <<'END',
        fanout_zone app  8m;
        fanout_zone tiny 2m channels=1%-1% keys=0%-1% user=100% address=100%;
        fanout_zone home 2m sessions=1%-3%;
        fanout_zone few 2m channels=1%-1%;
        fanout_zone hook 2m;
        fanout_zone broken 2m;
        fanout_channel app room:* history=10 presence=on batch=0;
        fanout_channel app two:*  presence=on batch=0 members=1;
        fanout_channel app lock:* locks=1m;
        fanout_channel app *      history=100;
        fanout_channels_per_session 1000;
        fanout_permit all *;
END
    server => <<'END',
        location /rt      { fanout app; fanout_user $arg_user;
                            fanout_user_info name=$arg_name; }
        location /raw     { fanout app; fanout_dialect raw; }
        location /none    { fanout app; fanout_permit join none; }
        location /rawnone { fanout app; fanout_dialect raw;
                            fanout_permit join none; }
        location /token   { fanout app; fanout_user $fanout_claim_sub;
                            fanout_jwt secret=0123456789abcdef; }
        location /ws      { fanout app; fanout_transports websocket; }
        location /nows    { fanout app; fanout_transports sse poll post; }
        location /small   { fanout app; fanout_buffer 2k; }
        location /user    { fanout app; fanout_user of-one;
                            fanout_sessions_per_user 1; }
        location /budget  { fanout app; fanout_user poor;
                            fanout_budget user sessions=1/s commands=1/s
                                               burst=1s; }
        location /address { fanout app; fanout_sessions_per_address 1; }
        location /worker  { fanout app; fanout_sessions 1; }
        location /tiny    { fanout tiny; fanout_rate off; fanout_budget off; }
        location /home    { fanout home; fanout_rate off; fanout_budget off; }
        location /few     { fanout few; fanout_rate off; fanout_budget off; }
        location /hook    { fanout hook; }
        location /broken  { fanout broken; }
        location /api/    { fanout_api app; }

        fanout_hook hook /ask publish;
        fanout_hook broken /fail publish;
        location = /fail { internal; return 500; }
        location = /ask {
            internal;
            default_type application/json;
            return 200 '{"publishes":[{"allow":false}]}';
        }
END
);

my %upgrade = (Upgrade => 'websocket', Connection => 'Upgrade',
               'Sec-WebSocket-Version' => 13,
               'Sec-WebSocket-Key' => 'dGhlIHNhbXBsZSBub25jZQ==');
my %proof   = ('X-Requested-With' => 'test');
my %json    = ('Content-Type' => 'application/json');
my %seen;                   # "transport status code" => 1

# What came first of a response: an event stream doesn't end.

sub answer {
    my ($method, $path, %o) = @_;

    my %headers = (Host => 'localhost', %{ $o{headers} || {} });
    my $s = Fanout::Socket->open(port => $nginx->port);

    $headers{'Content-Length'} = length $o{body} if defined $o{body};

    $s->send_bytes(join "\r\n", "$method $path HTTP/1.1",
                   (map { "$_: $headers{$_}" } sort keys %headers), '',
                   $o{body} // '');

    $s->fill(20) or last
        while ${ $s->buffer } !~ /\r\n\r\n/;

    my ($status, $head, $body)
        = ${ $s->buffer } =~ m{^HTTP/1\.1 (\d+)(.*?)\r\n\r\n(.*)}s;

    my ($length) = ($head // '') =~ /^content-length: (\d+)/mi;

    if ($length && $method ne 'HEAD') {
        while (length $body < $length) {
            $s->fill(20) or last;
            ($body) = ${ $s->buffer } =~ m{\r\n\r\n(.*)}s;
        }
    }

    return { status => $status // 'none', head => $head // '',
             body => $body // '', socket => $s };
}


sub is_status {
    my ($of, $status, $code, $r, $what) = @_;

    my ($got) = $r->{body} =~ /"error":\{"code":"(\w+)"/;

    is("$r->{status} " . ($got // ''), "$status " . ($code // ''),
       "$of: $what: $status") or diag($r->{body});

    $seen{"$of $status " . ($of ne 'WebSocket' && $code || '')} = 1;

    return $r;
}


sub websocket {
    my ($status, $path, $what, %o) = @_;
    my %headers = (%upgrade, %{ $o{headers} || {} });

    delete $headers{$_} for grep { !defined $headers{$_} } keys %headers;

    return is_status(WebSocket => $status, undef,
                     answer('GET', $path, headers => \%headers), $what);
}

sub stream {
    my ($status, $code, $path, $what, %headers) = @_;
    return is_status(stream => $status, $code,
                     answer('GET', $path, headers => \%headers), $what);
}

sub poll {
    my ($status, $code, $path, $what, %headers) = @_;
    return is_status(poll => $status, $code,
                     answer('GET', "$path&poll=1&timeout=0",
                            headers => \%headers), $what);
}

sub post {
    my ($status, $code, $path, $what, $body, %headers) = @_;

    %headers = (%json, %headers);
    delete $headers{$_} for grep { !defined $headers{$_} } keys %headers;

    $body = Fanout::JSON::encode($body) if ref $body;

    return is_status(POST => $status, $code,
                     answer('POST', $path, body => $body,
                            headers => \%headers), $what);
}

sub publish { return { id => 1, op => 'publish', channel => 'a', data => 1, @_ } }

sub waits {
    my ($r, $what) = @_;
    like($r->{head}, qr/^retry-after: \d+\r$/mi, "$what: Retry-After");
}

my %event_source = (Accept => 'text/event-stream');
my %foreign      = (Origin => 'https://foreign.test');
my $long         = 'x' x 5000;


subtest 'what succeeds' => sub {
    websocket(101, '/rt', 'a handshake');
    stream(200, undef, '/rt?channel=a', 'a stream');
    poll(200, undef, '/rt?channel=a', 'a poll');
    post(200, undef, '/rt', 'a command', { id => 1, op => 'ping' });
    post(204, undef, '/rt', 'without a reply', { op => 'ping' });
    is(answer('OPTIONS', '/rt', headers => {
           Origin => 'http://localhost',
           'Access-Control-Request-Method' => 'POST' })->{status}, 204,
       'a preflight');

    like(post(200, undef, '/rt', "$_ without an id",
              { op => $_, channel => 'room:1' })->{body}, qr/^\{"ok":/,
         'has a reply') for qw( history members );
};


subtest 'malformed' => sub {
    websocket(400, '/rt', 'no key', headers => { 'Sec-WebSocket-Key' => 'x' });
    websocket(400, "/rt?user=" . 'u' x 300, 'no user');
    websocket(400, "/rt?name=$long", 'a profile');
    websocket(400, '/raw', 'no channel in the raw dialect');

    for my $of (\&stream, \&poll) {
        $of->(400, 'bad_request', '/rt?channel=*', 'no channel');
        $of->(400, 'bad_request', '/rt?channel=a&history=1001', 'history');
        $of->(400, 'bad_request', '/rt?channel=a&user=' . 'u' x 300, 'no user');
        $of->(400, 'bad_request', "/rt?channel=a&session=1&name=$long",
              'a profile', %proof);
    }

    websocket(400, '/rt?heartbeat=yes', 'a flag');
    stream(400, 'bad_request', '/rt?channel=a&session=yes', 'a flag');
    poll(400, 'bad_request', '/rt?channel=a&timeout=1s', 'timeout');
    poll(400, 'bad_request', '/rt?channel=a&timeout=0.5', 'timeout');

    post(400, 'bad_request', '/rt', 'no JSON', '{');
    post(400, 'unknown_op', '/rt', 'no op', { id => 1, op => 'fly' });
    post(400, 'too_many', '/rt', 'too many', [ ({ op => 'ping' }) x 65 ]);
    post(415, 'unsupported_media_type', '/rt', 'text', '{}',
         'Content-Type' => 'text/plain');
    post(413, 'too_large', '/rt', 'data', publish(data => 'x' x 66000));
    post(413, 'too_large', '/rt', 'a body', publish(data => 'x' x 70000));

    is_status(WebSocket => 405, undef, answer($_, '/rt', body => ''), $_)
        for qw( PUT DELETE PATCH HEAD );
    is_status(WebSocket => 405, undef, answer('POST', '/raw?channel=a',
                                              body => ''), 'POST, raw');

    is_status(WebSocket => 426, undef, answer('GET', '/rt'), 'no upgrade');
    is_status(WebSocket => 426, undef, answer('GET', $_), "raw: $_")
        for '/raw?channel=a', '/raw?channel=a&poll=1';
    websocket(426, '/rt', 'a version',
              headers => { 'Sec-WebSocket-Version' => 12 });
};


subtest 'not permitted' => sub {
    websocket(403, '/rt', 'an origin', headers => \%foreign);
    websocket(401, '/token', 'no token');
    stream(401, 'unauthorized', '/token?channel=a', 'no token');
    poll(401, 'unauthorized', '/token?channel=a', 'no token');
    post(401, 'unauthorized', '/token', 'no token', '{}');

    websocket(403, '/nows', 'no WebSocket');
    websocket(403, '/rawnone?channel=a', 'no permission, raw');

    for my $of (\&stream, \&poll) {
        $of->(403, 'forbidden', '/rt?channel=a', 'an origin', %foreign);
        $of->(403, 'forbidden', '/ws?channel=a', 'not served');
        $of->(403, 'forbidden', '/none?channel=a', 'no permission');
    }

    stream(403, 'forbidden', '/rt?join=%7B%22channel%22:%22room:1%22,'
           . '%22presence%22:%7B%7D%7D', 'a member by GET');
    poll(403, 'forbidden', '/rt?channel=a&session=1', 'a session by GET');

    post(403, 'forbidden', '/rt', 'an origin', '{}', %foreign);
    post(403, 'forbidden', '/ws', 'not served', '{}');
    post(403, 'forbidden', '/none', 'no permission', publish());
    post(403, 'forbidden', '/rt', 'a wrong token', '{}',
         'Fanout-Resume' => 'r_' . '0' x 48);
    post(403, 'refused', '/hook', 'the backend', publish());
    post(502, 'hook_failed', '/broken', 'no answer of it', publish());

    is($nginx->http->put('/api/denials/user:eve?for=60', '')->{status}, 200,
       'shut out');
    websocket(403, '/rt?user=eve', 'shut out');
    stream(403, 'blocked', '/rt?channel=a&user=eve', 'shut out');
    poll(403, 'blocked', '/rt?channel=a&user=eve', 'shut out');
    post(403, 'blocked', '/rt?user=eve', 'shut out', '{}');
};


subtest 'states' => sub {
    my $ann = $nginx->native(path => '/rt');
    my %as  = ('Fanout-Resume' => $ann->welcome->{resume});
    my $two = '/rt?session=1&join=%7B%22channel%22:%22two:1%22,'
              . '%22presence%22:%7B%7D%7D';

    $ann->ok('join', channel => 'room:1', key => "k$_",
             presence => { x => 'x' x 1000 }) for 1 .. 9;
    $ann->ok('join', channel => 'two:1', presence => {});

    post(404, 'recipient_offline', '/rt', 'nobody', publish(to => { user => 'x' }));
    post(404, 'not_found', '/rt', 'no such member',
         { id => 1, op => 'presence', channel => 'room:1', key => 'x',
           state => 'idle' }, %as);
    post(409, 'not_joined', '/rt', 'not there',
         { id => 1, op => 'leave', channel => 'room:2' }, %as);
    post(409, 'conflict', '/rt', 'if',
         publish(if => { epoch => 'x', offset => 7 }));

    $_->(409, 'channel_full', $two, 'no place', %proof) for \&stream, \&poll;

    my $bob = $nginx->native(path => '/rt');
    $bob->ok('join', channel => 'two:1');
    post(409, 'channel_full', '/rt', 'no place',
         { id => 1, op => 'presence', channel => 'two:1', data => 1 },
         'Fanout-Resume' => $bob->welcome->{resume});

    my %lock = (id => 1, channel => 'lock:1', name => 'x');
    $_->ok('join', channel => 'lock:1') for $ann, $bob;
    post(409, 'not_holder', '/rt', 'no lock', { %lock, op => 'unlock' }, %as);
    $bob->ok('lock', channel => 'lock:1', name => 'x');
    post(409, 'locked', '/rt', 'a lock', { %lock, op => 'lock' }, %as);

    poll(413, 'too_large', '/small?join=%7B%22channel%22:%22room:1%22%7D',
         'members');
    post(413, 'too_large', '/small', 'a reply',
         { id => 1, op => 'members', channel => 'room:1' });
};


subtest 'limits' => sub {
    my $ann = $nginx->native(path => '/user');

    waits(poll(429, 'too_many', '/user?channel=a&session=1', 'of a user',
               %proof), 'of a user');
    poll(200, undef, '/user?channel=a', 'but without a session');
    like(stream(200, undef, '/user?channel=a', 'of a user', %proof)->{body},
         qr/^data: \{"closing":\{"code":"too_many",/m, 'a stream is told');

    # the first one takes what there is

    poll(200, undef, '/budget?channel=a&session=1', 'a budget', %proof);
    waits(websocket(429, '/budget', 'a budget'), 'a WebSocket');
    waits(stream(429, 'rate_limited', '/budget?channel=a', 'a budget',
                 %proof),
          'a stream');
    waits(poll(429, 'rate_limited', '/budget?channel=a', 'a budget', %proof),
          'a poll');
    waits(post(429, 'rate_limited', '/budget', 'a budget',
               { id => 1, op => 'ping' }), 'a POST');
    is(answer('GET', '/budget?channel=a',
              headers => { %event_source, %proof })->{status},
       200, 'an EventSource gets an event');

    waits(websocket(503, '/address', 'of an address'), 'a WebSocket');
    waits($_->(503, 'too_many', '/address?channel=a', 'of an address'),
          'and others') for \&stream, \&poll;
    is(answer('GET', '/address?channel=a', headers => \%event_source)->{status},
       200, 'an EventSource gets an event');
    post(200, undef, '/address', 'but not of POST', { id => 1, op => 'ping' });

    waits(websocket(503, '/worker', 'of a worker'), 'a WebSocket');
    waits($_->(503, 'unavailable', '/worker?channel=a', 'of a worker'),
          'and others') for \&stream, \&poll;
    waits(post(503, 'unavailable', '/worker', 'of a worker', '{}'), 'a POST');

    my $r = answer('GET', '/worker?channel=a', headers => \%event_source);

    is($r->{status}, 200, 'an EventSource gets an event');
    like($r->{head}, qr{^content-type: text/event-stream\r$}mi, 'its type');
    like($r->{body}, qr/^retry: \d+\n/, 'when to come back');
    like($r->{body}, qr/^data: \{"error":\{"code":"unavailable",/m, 'its code');
    like($r->{body}, qr/"too many sessions: fanout_sessions"/, 'and why');
};


subtest 'a full zone' => sub {
    my $ann = $nginx->native(path => '/tiny');
    my $r;

    for my $n (1 .. 2000) {
        $r = $ann->cmd('publish', channel => 'k', data => 1, key => "k$n");
        last if $r->{error};
    }

    is($r->{error}{code}, 'zone_full', 'its keys');
    post(507, 'zone_full', '/tiny', 'keys', publish(channel => 'k', key => 'x'));

    for my $n (1 .. 990) {
        $r = $ann->cmd('join', channel => "c$n");
        last if $r->{error};
    }

    is($r->{error}{code}, 'zone_full', 'its channels');
    waits($_->(507, 'zone_full', '/tiny?channel=new', 'channels'), 'and waits')
        for \&stream, \&poll;
    is(answer('GET', '/tiny?channel=new', headers => \%event_source)->{status},
       200, 'an EventSource gets an event');
};


subtest 'what an address holds' => sub {
    my @all;
    my $r;

    for my $n (0 .. 3000) {
        push @all, $nginx->native(path => '/home') if $n % 50 == 0;
        $r = $all[-1]->cmd('join', channel => 'c' . $n % 50);
        last if $r->{error};
    }

    is($r->{error}{code}, 'too_many', 'its sessions');
    is($r->{error}{data}{limit}, 'address', 'for the address');

    waits(poll(429, 'too_many', '/home?channel=c1&session=1', 'no session',
               %proof), 'a poll');
    like(stream(200, undef, '/home?channel=c1', 'no session')->{body},
         qr/^data: \{"closing":\{"code":"too_many",/m, 'a stream is told');

    # room for a session, and none for a channel of it

    $all[0]->ok('leave', channel => 'c1');

    for my $of (\&stream, \&poll) {
        waits($of->(429, 'too_many', '/home?channel=c1&session=1', 'no channel',
                    %proof), 'this too');
    }

    is(answer('GET', '/home?channel=c1', headers => \%event_source)->{status},
       200, 'an EventSource gets an event');

    my ($n, $ws) = (0, $nginx->native(path => '/few'));

    $n++ while $n < 500 && !$ws->cmd('join', channel => "c$n")->{error};

    # without a reader it is smaller

    $ws->cmd('publish', channel => "k$_", data => 1, key => 'k') for 1 .. 3;

    post(429, 'too_many', '/few', 'no channel by a key',
         { op => 'publish', channel => 'new', data => 1, key => 'k' });
};


# both ways

my $doc = do {
    open my $f, '<', "$FindBin::Bin/../docs/protocol.md" or die "protocol.md: $!";
    local $/;
    readline $f;
};

my ($part) = $doc =~ /^### Statuses\n(.*?)^### /ms;
my %told;

for my $row ($part =~ /^\| (\d{3} \| .*) \|$/mg) {
    my ($status, $of, $codes) = split / ?\| /, $row;

    for my $one (split /, /, $of) {
        $told{"$one $status $_"} = 1
            for $one eq 'WebSocket' || $codes !~ /`/ ? ''
                                                     : $codes =~ /`(\w+)`/g;
    }
}

# what needs a worker without memory, or ten seconds

delete @told{ "POST 503 busy", map { "$_ 500 internal" }
              qw( stream poll POST ) };
delete $told{'WebSocket 500 '};

is_deeply([ grep { !$told{$_} } sort keys %seen ], [],
          'what came is in the table');
is_deeply([ grep { !$seen{$_} } sort keys %told ], [],
          'what is in the table came');
