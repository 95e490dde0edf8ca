#!/usr/bin/env perl

# Presence without a WebSocket: if this fails, who has only a stream of events
# or polls is not seen by others, does not see them, flickers whenever its
# connection is cut, or can't say by POST what others say over their socket.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Client;
use Fanout::JSON;
use Fanout::Nginx;


my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 32m;
        fanout_channel app room:*  presence=on linger=60s batch=20ms
                                   history=100;
        fanout_channel app brief:* presence=on linger=1s batch=20ms;
        fanout_channel app full:*  presence=on members=1 batch=20ms;
        fanout_channel app talk:*  presence=on publish=members batch=20ms
                                   linger=60s;
        fanout_channel app count:* presence=summary batch=20ms;
        fanout_channel app late:*  presence=on batch=700ms history=100;
        fanout_channel app counted:* presence=summary batch=700ms
                                   history=100;
        fanout_channel app *       history=100 ttl=1h;
END
    server => <<'END',
        fanout_drain 200ms;
        location /rt { fanout app; fanout_user $arg_user; fanout_permit all *;
                       fanout_resume 60s; }
        location /deaf { fanout app; fanout_permit join room:*; }
        location /auto { fanout app; fanout_user $arg_user;
                         fanout_permit all room:* user:* full:*;
                         fanout_autojoin room:auto user:$arg_user nobody; }
        location /fanout { fanout_api app; }
        location = /status { fanout_status app; }
END
);


sub join_of { 'join=' . Fanout::Stream::escape(Fanout::JSON::encode($_[0])) }

sub client {
    my ($transport, $user, $joins, %o) = @_;

    my $path = delete $o{path} || '/rt';

    return Fanout::Client->open($nginx, $transport, $path, user => $user,
                                joins => $joins, session => 1, %o);
}


# who is there, by user, as a client puts it together from what it is told

sub users {
    my ($client, $channel) = @_;

    return join ' ', sort map {
        $_->{user} . (defined $_->{key} ? "/$_->{key}" : '')
        . ($_->{data} ? '=' . Fanout::JSON::encode($_->{data}) : '')
        . ($_->{state} eq 'idle' ? '~' : '')
    } $client->members($channel);
}


sub sees {
    my ($client, $channel, $expected, $name) = @_;

    my $got;

    for (1 .. 100) {
        $got = users($client, $channel);
        last if $got eq $expected;
        $client->next_entry(0.2);
    }

    is($got, $expected, $name);
}


# nothing of members within so many polls or events

sub quiet {
    my ($client, $name) = @_;

    $client->next_entry(0.3);
    my @told = @{ $client->{presences} };
    is_deeply(\@told, [], $name) or diag(explain(\@told));
}


for my $transport (Fanout::Client->transports) {

subtest "$transport: to be there, and to see who is" => sub {
    my $room = "room:$transport";
    my $bob  = client(websocket => 'bob', [ { channel => $room,
                                              presence => { n => 1 } } ]);
    sees($bob, $room, 'bob={"n":1}', 'alone at first');

    my $ann = client($transport, 'ann', [ { channel => $room,
                                            presence => { x => 1 } } ]);

    sees($ann, $room, 'ann={"x":1} bob={"n":1}', 'it is told who is there');
    sees($bob, $room, 'ann={"x":1} bob={"n":1}', 'and is seen');

    my $key = client($transport, 'key', [ { channel => $room, key => 'k',
                                            presence => {} } ]);
    sees($bob, $room, 'ann={"x":1} bob={"n":1} key/k', 'with a key');
    sees($ann, $room, 'ann={"x":1} bob={"n":1} key/k', 'by each other');

    # what it says by POST

    $ann->ok(presence => channel => $room, data => { x => 2, y => 1 });
    sees($bob, $room, 'ann={"x":2,"y":1} bob={"n":1} key/k', 'it changes');

    $ann->ok(presence => channel => $room, merge => Fanout::JSON::true,
             data => { y => undef, z => 3 });
    sees($bob, $room, 'ann={"x":2,"z":3} bob={"n":1} key/k', 'by a merge');

    $ann->ok(presence => channel => $room, state => 'idle');
    sees($bob, $room, 'ann={"x":2,"z":3}~ bob={"n":1} key/k', 'is idle');
    $ann->ok(presence => channel => $room, state => 'active');

    $ann->ok(presence => channel => $room, key => 'two', data => 2);
    sees($bob, $room, 'ann/two=2 ann={"x":2,"z":3} bob={"n":1} key/k',
         'has another one');
    sees($ann, $room, 'ann/two=2 ann={"x":2,"z":3} bob={"n":1} key/k',
         'and sees it');
    $ann->ok(presence => channel => $room, key => 'two', data => undef);
    sees($bob, $room, 'ann={"x":2,"z":3} bob={"n":1} key/k', 'withdraws it');

    # a cut within linger is nobody's business

    $_->cut for $ann, $key;
    $nginx->http->get('/status');
    $bob->{presences} = [];

    my $client = $ann->client;
    $ann->come_back;
    $key->come_back;

    is($ann->client, $client, 'who comes back is who it was');
    sees($ann, $room, 'ann={"x":2,"z":3} bob={"n":1} key/k',
         'with the data that it has now, not that of its URL');
    quiet($bob, 'and nobody has noticed');

    # direct messages and signals

    $bob->ok(publish => channel => $room, to => { client => $ann->client },
             data => 'to ann');
    is($ann->next_message->{data}, 'to ann', 'it can be addressed');

    $ann->ok(publish => channel => $room, to => { user => 'bob' },
             data => 'to bob');
    my $got = $bob->next_message;
    is($got->{data}, 'to bob', 'and address');
    is($got->{from}{client}, $ann->client, 'as the client it is');

    $ann->ok(signal => channel => $room, event => 'typing', data => 1);
    $got = $bob->next_message;
    is($got->{signal}, 'typing', 'it can signal');
    is($got->{from}{client}, $ann->client, 'as itself');

    $ann->ok(publish => channel => $room, data => 'hello',
             echo => Fanout::JSON::false);
    is($bob->next_message->{data}, 'hello', 'and publish');
    ok(!$ann->next_message(0.3), 'without an echo');

    # and go

    $ann->ok(leave => channel => $room);
    sees($bob, $room, 'bob={"n":1} key/k', 'it leaves');
    is($bob->{reasons}[-1], 'intentional', 'as it wanted');
    $_->cut for $ann, $key, $bob;
};


subtest "$transport: gone for longer than linger" => sub {
    my $room = "brief:$transport";
    my $bob  = client(websocket => 'bob', [ { channel => $room } ]);
    my $ann  = client($transport, 'ann', [ { channel => $room,
                                             presence => {} } ]);

    sees($bob, $room, 'ann', 'is there');
    $ann->cut;
    sees($bob, $room, '', 'then not');
    is($bob->{reasons}[-1], 'network', 'as its network failed');
};


subtest "$transport: only members may publish" => sub {
    my $talk = "talk:$transport";
    my $ann  = client($transport, 'ann', [ { channel => $talk } ]);
    my $bob  = client(websocket => 'bob', [ { channel => $talk } ]);

    is($ann->cmd(publish => channel => $talk, data => 1)->{error}{code},
       'forbidden', 'who is none does not');

    $ann->ok(presence => channel => $talk, data => {});
    ok($ann->ok(publish => channel => $talk, data => 1), 'who is one does');
    is($bob->next_message->{data}, 1, 'and is heard');
};


subtest "$transport: what is not possible" => sub {
    my $error = sub {
        my ($path, @joins) = @_;

        eval { client($transport, 'eve', \@joins, path => $path) };
        return $@;
    };

    my $one = client(websocket => 'one', [ { channel => "full:$transport",
                                             presence => {} } ]);

    like($error->('/rt', { channel => "full:$transport", presence => {} }),
         qr/channel_full|403|409|429|503|507/, 'a room that is full');
    like($error->('/deaf', { channel => 'room:a', presence => {} }),
         qr/forbidden|403/, 'without the permission');
    like($error->('/rt', { channel => 'plain', presence => {} }),
         qr/forbidden|403/, 'without presence');
    like($error->('/rt', { channel => 'room:a', want => 1 }),
         qr/want|400/, 'a wish that is none');
    like($error->('/rt', { channel => 'room:a', presence => 'x' x 5000 }),
         qr/too_large|413/, 'too much of it');
};


# Its members are told to all when batch= is over, and it is told who is there
# when they have been: in its first list, and never by a change.

subtest "$transport: it is in its own list" => sub {
    my @rooms   = map { "late:$transport:$_" } 1, 2;
    my $counted = "counted:$transport";
    my $bob     = client(websocket => 'bob', [
        map { { channel => $_, presence => {} } } @rooms, $counted
    ]);

    my @joins = (
        (map { { channel => $_, presence => { n => 1 } } } @rooms),
        { channel => $counted, presence => {} }
    );

    my $ann = client($transport, 'ann', [ @joins ]);

    wait_for(sub {
        $ann->next_entry(0.1);
        return keys %{ $ann->lists || {} } == 3;
    });

    for my $room (@rooms) {
        is(join(' ', sort map { $_->{user} }
                          @{ $ann->lists->{$room}[0]{members} || [] }),
           'ann bob', "$room: the first list");
        is(@{ $ann->lists->{$room} }, 1, 'the only one');
    }

    is_deeply($ann->lists->{$counted}[0]{summary}, { members => 2 },
              'it is counted');

    # who comes back with what is there does not wait

    $nginx->http->post("/fanout/channels/$_/messages", '"end"')
        for @rooms, $counted;

    is_deeply([ map { ($ann->next_message || {})->{data} } 1 .. 3 ],
              [ ('end') x 3 ], 'messages come');
    is_deeply($ann->{presences}, [], "it is not told of itself")
        or diag(explain($ann->{presences}));
};


subtest "$transport: summary" => sub {
    my $channel = "count:$transport";
    my $bob = client(websocket => 'bob', [ { channel => $channel,
                                             presence => {} } ]);
    my $ann = client($transport, 'ann', [ { channel => $channel,
                                            presence => {} } ]);

    ok(wait_for(sub {
        $bob->next_entry(0.1);
        return ($bob->{summary}{$channel} || 0) == 2;
    }), 'it counts') or diag(explain($bob->{summary}));
    ok(wait_for(sub {
        $ann->next_entry(0.1);
        return ($ann->{summary}{$channel} || 0) == 2;
    }), 'and is told');
};


subtest "$transport: fanout_autojoin" => sub {
    my $ann = client($transport, 'ann', [ { channel => 'room:own' } ],
                     path => '/auto');
    my $bob = client(websocket => 'bob', [ { channel => 'room:auto' } ],
                     path => '/auto');

    for my $channel (qw( room:auto user:ann room:own )) {
        $nginx->http->post("/fanout/channels/$channel/messages",
                           qq("in $channel"));
    }

    is(join(', ', sort map { ($ann->next_message || {})->{data} // '-' }
                       1 .. 3),
       'in room:auto, in room:own, in user:ann',
       'joins what the configuration says');
} if $transport ne 'websocket';

}


subtest 'what a POST says of itself' => sub {
    my $ann = client(sse => 'ann', [ { channel => 'room:post' } ]);
    my $http = $nginx->http;

    my $post = sub {
        my ($command, %headers) = @_;

        return $http->post('/rt?user=ann', Fanout::JSON::encode($command),
                           headers => { 'Content-Type' => 'application/json',
                                        %headers });
    };

    my $presence = { id => 1, op => 'presence', channel => 'room:post',
                     data => 1 };

    is($post->($presence)->{status}, 400, 'who has not said who it is');
    is($post->($presence, 'Fanout-Resume' => 'r_' . '0' x 48)->{status}, 403,
       'who has said it wrongly');

    my %me = ('Fanout-Resume' => $ann->token);

    is($post->({ %$presence, channel => 'room:other' }, %me)
           ->json->{error}{code}, 'not_joined', 'who is not there');
    is($post->({ id => 1, op => 'leave', channel => 'room:other' }, %me)
           ->json->{error}{code}, 'not_joined', 'nor can leave it');
    like($post->({ id => 1, op => 'join', channel => 'room:other' }, %me)
             ->json->{error}{message}, qr/URL/, 'nor join it');
    is($post->($presence, %me)->{status}, 200, 'who is there may');
};


subtest 'the query' => sub {
    my $get = sub { $nginx->http->get("/rt?$_[0]") };

    for my $bad ('join=1', 'join=%7B', 'join=%5B%5D', 'join=%7B%7D',
                 'join=%7B%22channel%22%3A1%7D',
                 'join=%7B%22channel%22%3A%22a*%22%7D',
                 'channel=a&join=%7B%22channel%22%3A%22a%22%7D',
                 'channel=a&poll=1&session=2',
                 'poll=1&' . join_of({ channel => 'room:a', presence => {} }))
    {
        my $r = $get->($bad);
        is($r->{status}, 400, $bad);
        ok(length $r->json->{error}{message}, 'and why');
    }
};
