#!/usr/bin/perl

# The page of the quickstart with many members, with nameless ones, and while
# its connection is gone. If this fails, the page shows two of fifty members,
# says "by HTTP" of a client, loses what was typed while it was cut, sends it
# twice, or links to nothing.

use strict;
use warnings;

use Fanout::Native;
use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Tabs;

# the members don't answer pings while the test looks at the page

(my $conf = quickstart()) =~ s/^http \{/http {\n    fanout_ping 0;/m or die;

my $nginx = Fanout::Nginx->start(conf => $conf);
my $http  = $nginx->http;
my $tabs  = Fanout::Tabs->start;
my $room  = 'room:lobby';


# a list of members that comes in parts

my @members = map {
    my $m = Fanout::Native->connect(port => $nginx->port,
                                    path => "/realtime?user=user$_");

    $m->ok('join', channel => $room,
           presence => { data => { text => 'x' x 4000 } });
    $m;
} 1 .. 50;

my $probe = Fanout::Native->connect(port => $nginx->port);
my $reply = $probe->cmd('join', channel => $room, presence => undef);

ok(@{ $reply->{part} || [] } > 1, 'the list comes in parts');

my $here = '#people li:not(.gone)';

sub count { scalar @{ $tabs->texts($_[0], $here) } }

$tabs->open('ann', $nginx->uri('/'));

ok($tabs->wait('ann', '#state', 'connected'), 'a tab connects');
ok(wait_for(sub { count('ann') == 51 }), 'it shows all members')
    or diag(count('ann'));

$tabs->screenshot('ann', "$ENV{TEST_SCREENSHOTS}/page-crowd.png")
    if $ENV{TEST_SCREENSHOTS};

is_deeply($tabs->errors('ann'), [], 'nothing in the console');

$_->close for splice @members, 0, 49;

ok(wait_for(sub { count('ann') == 2 }), 'those that leave are gone')
    or diag(count('ann'));


# a client without a name, and none at all

$probe->ok('publish', channel => $room, event => 'msg',
           data => { text => 'no name' });
$http->post("/fanout/channels/$room/messages", '{"text":"no client"}');

ok($tabs->wait('ann', '#log .said', 'no client'), 'both are heard');

my %by = @{ $tabs->evaluate('ann', "[...document.querySelectorAll('#log li')]
    .filter((e) => e.querySelector('.said'))
    .flatMap((e) => [e.querySelector('.said').textContent,
                     e.querySelector('.who').textContent])") };

is($by{'no name'}, 'somebody', 'a WebSocket without a user is somebody');
is($by{'no client'}, 'by HTTP', 'a publish by HTTP is by HTTP');


# what is typed while the connection is gone

sub type {
    my ($text) = @_;

    $tabs->fill('ann', '#text', $text);
    $tabs->press('ann', '#text', 'Enter');
}

sub kept {
    my $page = $http->get("/fanout/channels/$room/messages?limit=100")->json;

    return [ grep { /^typed/ }
             map { ref $_->{data} ? $_->{data}{text} : $_->{data} }
             @{ $page->{messages} } ];
}

$tabs->click('ann', '#cut');
$tabs->wait('ann', '#away', 'Others still see you');

type("typed $_") for 1 .. 3;

is_deeply($tabs->texts('ann', '#log .unsent .said'),
          [ map { "typed $_" } 1 .. 3 ], 'it is shown as not sent');
is_deeply(kept(), [], 'it was not sent');

$tabs->click('ann', '#return');

ok(wait_for(sub { @{ kept() } == 3 }), 'it is sent when the page is back');
is_deeply(kept(), [ map { "typed $_" } 1 .. 3 ], 'in order');
ok(wait_for(sub { !@{ $tabs->texts('ann', '#log .unsent') } }),
   'and is not waiting any more');
is_deeply([ grep { /^typed/ } @{ $tabs->texts('ann', '#log .said') } ],
          [ map { "typed $_" } 1 .. 3 ], 'the page shows each once');

# the reply is lost: the page hears nothing of what it has sent

$tabs->evaluate('ann',
    'import("/room.js").then((m) => m.network.set("deaf"))');
type('typed 4');

ok(wait_for(sub { @{ kept() } == 4 }), 'a message is taken');
is_deeply($tabs->texts('ann', '#log .unsent .said'), [ 'typed 4' ],
          'but the page does not know');

$tabs->click('ann', '#cut');
$tabs->click('ann', '#return');

ok(wait_for(sub { !@{ $tabs->texts('ann', '#log .unsent') } }),
   'it asks again, and knows');
is_deeply(kept(), [ map { "typed $_" } 1 .. 4 ], 'it is published once');
is_deeply([ grep { /^typed/ } @{ $tabs->texts('ann', '#log .said') } ],
          [ map { "typed $_" } 1 .. 4 ], 'and shown once');


# the snippet of README, in a page of a development server

for my $origin (qw( http://localhost:5173 http://127.0.0.1:3000 )) {
    is($nginx->native(headers => { Origin => $origin },
                      expect => undef, welcome => 0)->status, 101, "$origin is let in");
}

is($nginx->native(headers => { Origin => 'http://localhost:6666' },
                  expect => undef, welcome => 0)->status, 403, 'another is not');


# links

my $links = $tabs->evaluate('ann', "[...document.querySelectorAll('nav a')]
    .map((e) => e.getAttribute('href'))");

ok(@$links >= 4, 'the page has links');
is($http->get("/$_")->{status}, 200, "$_ is there") for @$links;

done_testing();
