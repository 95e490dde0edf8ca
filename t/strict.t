#!/usr/bin/env perl

# Names that nobody knows, and documents that go beyond what is told. If this
# fails, a misspelt name is ignored, so that a private message goes to all or a
# filter does not filter; an error says nothing of the command it is about; or a
# message that strict parsers refuse cuts off its subscribers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::JSON;
use Fanout::Nginx;

my $nginx = Fanout::Nginx->start(
    http   => 'fanout_zone app 8m;
               fanout_channel app plain:* history=100;
               fanout_channel app *       history=100 presence=on;',
    server => 'location /fanout/  { fanout_api app; }
               location /realtime { fanout app; fanout_permit all *; }
               location = /status { fanout_status app; }',
);

my $http = $nginx->http;
my $ann  = $nginx->native;
my $bob  = $nginx->native;

sub fails {
    my ($reply, $like, $name) = @_;

    is($reply->{error}{code}, 'bad_request', $name);
    like($reply->{error}{message}, $like, 'and says which');
}

sub refused {
    my ($r, $like, $name) = @_;

    is($r->{status}, 400, $name);
    like($r->{body}, $like, 'and says which');
}

sub nested { my ($n) = @_; return '[' x $n . ']' x $n }


subtest 'members of commands' => sub {
    $_->ok('join', channel => 'room') for $ann, $bob;

    fails($ann->cmd('publish', channel => 'room', data => 1, evnt => 'x'),
          qr/unknown member 'evnt'/, 'one that nothing has');
    fails($ann->cmd('publish', channel => 'room', data => 1, history => 1),
          qr/"history" is not a member of "publish"/, 'one of another operation');
    fails($ann->cmd('ping', channel => 'room'),
          qr/"channel" is not a member of "ping"/, 'of a ping');
    fails($ann->cmd('publish', channel => 'room', data => 1,
                    to => { clint => 'c_0' }), qr/"to"/, 'in "to"');
    fails($ann->cmd('join', channel => 'room', since => { epoc => 'x' }),
          qr/"since"/, 'in "since"');
    fails($ann->cmd('publish', channel => 'room',
                    messages => [ { data => 1, store => 1 } ]),
          qr/messages/, 'in "messages"');

    for my $want ([ 'message' ], [ 'messages', 'lock' ], [ 1 ]) {
        fails($ann->cmd('join', channel => 'room', want => $want),
              qr/"want" is of "messages", "signals", "presence", "records" and "locks"/,
              "want of @$want");
    }

    fails($ann->cmd('publish', channel => 'room', data => 1,
                    live => Fanout::JSON::true), qr/"live" needs "to"/,
          'of a direct message, without a recipient');

    my @replies = $ann->batch({ op => 'ping' },
                              { op => 'ping', pong => 1 }, { op => 'ping' });

    is_deeply([ map { $_->{ok} ? 1 : 0 } @replies ], [ 1, 0, 1 ],
              'in an array it ends one command');

    $ann->send_text('{"id":"dup","op":"ping","op":"ping"}');
    fails($ann->reply('dup'), qr/duplicate member/, 'one that is there twice');

    is_deeply([ $bob->drain ], [], 'nothing was published');
};


# the channel has no presence, and a poll no signals: what is named and can't
# be had is refused, and nothing is joined

subtest 'what a channel can not give' => sub {
    my $none = qr/this channel has no presence/;

    for my $want ([ 'presence' ], [ 'messages', 'presence' ]) {
        my $r = $ann->cmd('join', channel => 'plain:a', want => $want);

        is($r->{error}{code}, 'forbidden', "want of @$want");
        like($r->{error}{message}, $none, 'and says why');
        is($ann->cmd('leave', channel => 'plain:a')->{error}{code},
           'not_joined', 'nothing is joined');

        $ann->ok('join', channel => 'plain:b');
        is($ann->cmd('join', channel => 'plain:b', want => $want)
               ->{error}{code}, 'forbidden', 'in a second join neither');
        is($ann->ok('publish', channel => 'plain:b', data => 1)->{offset},
           $ann->next_push->{offset}, 'which changes nothing');
        $ann->ok('leave', channel => 'plain:b');

        for my $poll ('', '&poll=1') {
            $r = $http->get(
                "/realtime?join=%7B%22channel%22:%22plain:a%22,%22want%22:%5B"
                . join(',', map { "%22$_%22" } @$want) . "%5D%7D$poll");

            is($r->{status}, 403, $poll ? 'by a poll' : 'by a stream');
            like($r->{body}, $none, 'and says why');
        }
    }

    ok($ann->ok('join', channel => 'plain:a'), 'by default it is what there is');
    $ann->ok('leave', channel => 'plain:a');

    refused($http->get('/realtime?poll=1&join=%7B%22channel%22:%22plain:a%22,'
                       . '%22want%22:%5B%22signals%22%5D%7D'),
            qr/polls get none/, 'signals by a poll');
};


subtest 'joins of a URL' => sub {
    for (
        [ '{"channel":"room","want":["all"]}', qr/want/ ],
        [ '{"channel":"room","hystory":1}',    qr/unknown member 'hystory'/ ],
        [ '{"channel":"room","data":1}',
          qr/data\\" is not a member of a join/ ],
    ) {
        my ($join, $like) = @$_;
        my $r = $http->get('/realtime?poll=1&join='
                           . $join =~ s/([^\w])/sprintf '%%%02x', ord $1/ger);

        refused($r, $like, $join);
    }
};


subtest 'arguments of the HTTP API' => sub {
    for (
        [ 'GET'    => 'channels?mach=x' ],
        [ 'GET'    => 'channels/room?x=1' ],
        [ 'DELETE' => 'channels/room?clos=1' ],
        [ 'GET'    => 'channels/room/messages?last=3' ],
        [ 'POST'   => 'channels/room/messages?evnt=x' ],
        [ 'POST'   => 'channels/room/messages?since=1:1' ],
        [ 'POST'   => 'channels/room/signals?store=0' ],
        [ 'GET'    => 'channels/room/presence?sumary=1' ],
        [ 'GET'    => 'clients/c_0123456789abcdef?channel=x' ],
        [ 'DELETE' => 'users/ann?chanel=x' ],
        [ 'POST'   => 'batch?limit=1' ],
        [ 'POST'   => 'broadcast?event=x' ],
    ) {
        my ($method, $path) = @$_;
        my ($name) = $path =~ /\?(\w+)/;

        refused($http->request($method, "/fanout/$path", body => '{}'),
                qr/there is no argument \\"$name\\" here/, "$method $path");
    }

    refused($http->post("/fanout/channels/room/messages?$_=1&a=b&$_=2", '1'),
            qr/the argument \\"$_\\" is there twice/, "$_ twice")
        for qw( event key store );

    refused($http->get("/status?$_"), qr/there are the arguments format/,
            "status: $_")
        for 'fromat=health', 'format=health&format=json', 'x';

    refused($http->post('/fanout/channels/room/messages?live=1', '1'),
            qr/\\"live\\" needs \\"to\\"/, 'live without a recipient');
    refused($http->post("/fanout/channels/room/$_", '1'), qr/is empty/, $_)
        for 'messages?to=', 'messages?to', 'messages?to_user=&event=a',
            'messages?to_client=', 'signals?event=a&to=';
    refused($http->post('/fanout/channels/room/messages?to=ann', '1'),
            qr/neither/, 'a recipient that is neither client nor user');
    is_deeply([ $bob->drain ], [], 'nothing was published');

    my $r = $http->post('/fanout/channels/room/messages?to=client:'
                        . $bob->client, '"for bob"');

    is($r->{status}, 201, 'the recipient of a direct message');
    is($bob->next_push->{data}, 'for bob', 'gets it');
    is_deeply([ $ann->drain ], [], 'nobody else does');
};


subtest 'keys by HTTP' => sub {
    my $path = '/fanout/channels/keys/messages';

    my @r = (
        $http->post("$path?key=k", '1'),
        $http->post($path, '2', headers => { 'Idempotency-Key' => 'k' }),
        $http->post($path, '3', headers => { 'Fanout-Key' => 'k' }),
        $http->post("$path?key=k", '4', headers => { 'Fanout-Key' => 'k' }),
    );

    is_deeply([ map { $_->json->{offset} } @r ], [ 1, 1, 1, 1 ],
              'three names of one thing');
    refused($http->post("$path?key=a", '5', headers => { 'Fanout-Key' => 'b' }),
            qr/two keys/, 'two that differ');
};


subtest 'operations of a batch' => sub {
    my $r = $http->post('/fanout/batch', Fanout::JSON::encode([
        { op => 'publish', channel => 'b', data => 1 },
        { op => 'publish', channel => 'b', data => 2, evnt => 'x' },
        { op => 'publish', channel => 'b', data => 3, limit => 1 },
        { op => 'info', channel => 'b' },
    ]));

    my @replies = @{ $r->json };

    is_deeply([ map { $_->{ok} ? 1 : 0 } @replies ], [ 1, 0, 0, 1 ],
              'each has a result of its own');
    like($replies[1]{error}{message}, qr/unknown member 'evnt'/, 'unknown');
    like($replies[2]{error}{message}, qr/"limit" is not a member of "publish"/,
         'of another operation');
    is($replies[3]{ok}{offset}, 1, 'one was published');

    refused($http->post('/fanout/broadcast',
                        '{"channels":["b"],"data":1,"op":"publish"}'),
            qr/not a member of/, 'a broadcast');
};


subtest 'nesting' => sub {
    my ($most, $more) = (nested(120), nested(121));

    $_->ok('join', channel => 'deep') for $ann, $bob;

    $ann->send_text(qq({"id":"d1","op":"publish","channel":"deep","data":$most}));
    ok($ann->reply('d1')->{ok}, '120 levels are taken');
    ok($bob->next_push, 'and told');

    for my $n (121, 200, 30000) {
        my $deep = nested($n);

        $ann->send_text(
            qq({"id":"x$n","op":"publish","channel":"deep","data":$deep}));
        fails($ann->reply("x$n"), qr/"data" nests more than 120/,
              "$n are refused, with the id");
    }

    $ann->send_text(qq([{"id":"p1","op":"ping"},)
                  . qq({"id":"p2","op":"publish","channel":"deep","data":$more},)
                  . qq({"id":"p3","op":"ping"}]));

    my %reply = map { $_ => $ann->reply($_) } qw( p1 p2 p3 );

    ok($reply{p1}{ok} && $reply{p3}{ok}, 'others of the array are answered');
    fails($reply{p2}, qr/nests more than 120/, 'this one as well');

    $ann->send_text(qq({"id":"m","op":"publish","channel":"deep",)
                  . qq("messages":[{"data":$most},{"data":$more}]}));
    fails($ann->reply('m'), qr/nests more than 120/, 'among several');

    my $path = '/fanout/channels/deep/messages';

    is($http->post($path, $most)->{status}, 201, 'by HTTP as many are taken');
    refused($http->post($path, $more, headers => {
                'Content-Type' => 'application/json' }),
            qr/nests more than 120/, 'more are refused');
    refused($http->post($path, $more), qr/nests more than 120/,
            'and are no text where no type is said');

    my $r = $http->post('/fanout/batch',
                        qq([{"op":"publish","channel":"deep","data":$more},)
                      . qq({"op":"publish","channel":"deep","data":$most}]));

    is_deeply([ map { $_->{ok} ? 1 : 0 } @{ $r->json } ], [ 0, 1 ],
              'in a batch it is one operation');

    $bob->drain;
};


subtest 'half a surrogate pair' => sub {
    my ($cat, $half) = ('\ud83d\ude00', '\ufffd');
    $_->ok('join', channel => 'half', presence => {}) for $ann, $bob;
    $_->drain for $ann, $bob;

    my $said = '"\ud800 \udfff \uD83D\ud83d\ude00 ' . $cat
             . ' \udc00\udbff \\\\ud800"';
    my $told = qq("$half $half $half$cat $cat $half$half \\\\ud800");

    # as bytes: a decoder would hide what is sent

    my $sub = $nginx->ws(path => '/realtime', subprotocols => ['fanout.v1']);

    $sub->send_text('{"id":1,"op":"join","channel":"half"}');
    1 until $sub->recv_text =~ /"id":1,"ok"/;

    my $next = sub {
        for (1 .. 50) {
            my $text = $sub->recv_text or last;
            return $1 if $text =~ /"(?:data|meta)":(".*?(?<!\\)"|\{.*?\})[,}]/;
        }
    };

    $ann->send_text(qq({"id":"s","op":"publish","channel":"half","data":$said}));
    ok($ann->reply('s')->{ok}, 'it is published');
    is($next->(), $told, 'and becomes U+FFFD');

    $http->post('/fanout/channels/half/messages', $said);
    is($next->(), $told, 'by HTTP');

    $http->post('/fanout/batch',
                qq([{"op":"publish","channel":"half","data":$said}]));
    is($next->(), $told, 'in a batch');

    $http->post('/fanout/channels/half/signals?event=x', $said);
    is($next->(), $told, 'as a signal');

    $ann->send_text(qq({"id":"k","op":"publish","channel":"half","data":1,)
                  . qq("meta":{"k":$said}}));
    ok($ann->reply('k')->{ok}, 'in meta');

    my $kept = $http->get('/fanout/channels/half/messages')->{body};

    is(() = $kept =~ /\Q$told\E/g, 4, 'so it is kept, also in meta');
};


# what is expected, not only that it is wrong

subtest 'types of the HTTP API' => sub {
    my $publish = sub {
        return $http->post('/fanout/batch', Fanout::JSON::encode(
            [ { op => 'publish', channel => 'b', data => 1, @_ } ]));
    };

    for (
        [ event => 1,             qr/"event" is not a string/ ],
        [ key   => {},            qr/"key" is not a string/ ],
        [ enc   => [],            qr/"enc" is not a string/ ],
        [ to    => { user => 1 }, qr/"user" is not a string/ ],
    ) {
        my ($name, $value, $like) = @$_;

        fails($publish->($name => $value)->json->[0], $like, $name);
    }
};


# A client whose token was damaged where it is kept would never come back if it
# were refused, and its next welcome has a good one.

subtest 'a header that is no token' => sub {
    my $join = "/realtime?join=%7B%22channel%22:%22plain:a%22,"
               . "%22history%22:1%7D&poll=1&timeout=0";

    for my $token ('zz', 'undefined', $ann->resume . '0', 'r_' . 'g' x 48) {
        my $as = { 'Fanout-Resume' => $token };

        ok($http->get("$join&session=1", headers => $as)->json->[0]{welcome},
           "$token: a poll is of a new client");
        ok(!(grep { $_->{welcome} }
                  @{ $http->get($join, headers => $as)->json }),
           "$token: or of none");
        is($http->post('/realtime', '{"op":"ping"}', headers => {
               %$as, 'Content-Type' => 'application/json' })->{status}, 403,
           "$token: a POST acts as the client, or not at all");
    }
};


# an application may name its key in every join

subtest 'a key without presence' => sub {
    my $r = $ann->ok('join', channel => 'keyed', key => 'k');

    is_deeply($r->{members}, [], 'makes no member');
    $ann->ok('leave', channel => 'keyed');
};

done_testing();
